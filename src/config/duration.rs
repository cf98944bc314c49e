//! Lengths of time as the operator writes them: `"250ms"`, `"30s"`, `"1h30m"`.
//!
//! Stricter than most: a bare number is refused, because `30` read as something else than seconds is an RPO nobody
//! meant; months and years are refused, because nothing here is that long and `1M` is one key away from `1m`.

use std::time::Duration;

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads a length of time; the error is a sentence for the operator.
pub fn parse(text: &str) -> Result<Duration, String> {
    const HOW: &str = "write a whole number and a unit (ms, s, m, h, d), like \"250ms\", \"30s\" or \"1h30m\"";
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(HOW.to_owned());
    }
    if rest.len() < 20 && rest.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("the unit is missing: write \"{rest}s\" for seconds, or ms, m, h, d"));
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (number, after) = split(rest, |c| c.is_ascii_digit());
        let (unit, after) = split(after, char::is_alphabetic);
        let Some((_, millis)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(HOW.to_owned());
        };
        let number: u64 = number.parse().map_err(|_| HOW.to_owned())?;
        let part = number.checked_mul(*millis).ok_or("this is longer than can be counted")?;
        total = total.checked_add(part).ok_or("this is longer than can be counted")?;
        rest = after.trim_start();
    }
    Ok(Duration::from_millis(total))
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

/// The shortest way to write it; what is below a millisecond is left out.
pub fn words(d: Duration) -> String {
    let mut millis = u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".to_owned();
    }
    // One unit where one is exact, so that 90 s stays "90s".
    if let Some((name, unit)) = UNITS.iter().find(|(_, unit)| millis.is_multiple_of(*unit) && millis / unit < 1000) {
        return format!("{}{name}", millis / unit);
    }
    let mut text = String::new();
    for (name, unit) in UNITS {
        if millis >= unit {
            text.push_str(&format!("{}{name}", millis / unit));
            millis %= unit;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_operator_writes_is_understood() {
        for (text, millis) in [
            ("250ms", 250),
            ("30s", 30_000),
            ("15m", 900_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
            ("1h30m", 5_400_000),
            (" 1m 30s ", 90_000),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_could_be_misread_is_refused() {
        for text in [
            "",
            "30",
            "s",
            "30S",
            "30 sec",
            "1.5s",
            "-1s",
            "1M",
            "1y",
            "30s!",
            "99999999999999999999s",
            "9999999999999999d",
            "ü",
            "3ü",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse("30").unwrap_err().contains("\"30s\""));
    }

    #[test]
    fn words_are_read_back_as_the_same() {
        for millis in [0, 1, 250, 1_000, 1_500, 17_000, 60_000, 90_000, 900_000, 3_600_000, 86_400_000, 90_061_001] {
            let d = Duration::from_millis(millis);
            assert_eq!(parse(&words(d)), Ok(d), "{}", words(d));
        }
        assert_eq!(words(Duration::from_secs(90)), "90s");
        assert_eq!(words(Duration::from_secs(900)), "15m");
    }
}
