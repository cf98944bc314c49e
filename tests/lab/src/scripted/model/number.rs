//! The one canonical form of a DynamoDB number.
//!
//! Two numerals that are numerically equal are one key and one value ("1", "1.0" and "10E-1"), so every numeral is
//! rewritten to a plain decimal without leading or trailing zeros before it is stored, compared or hashed.
//! No float is involved: 38 digits must survive.

use std::borrow::Cow;

/// Most significant digits a number may have (DynamoDB Developer Guide, "Data types").
const MAX_DIGITS: usize = 38;
/// Largest decimal exponent of the leading digit: 9.99..E+125.
const MAX_EXPONENT: i64 = 125;
/// Smallest decimal exponent of the leading digit: 1E-130.
const MIN_EXPONENT: i64 = -130;

/// The canonical form of `numeral`, or what DynamoDB says when it is not a number it can hold.
pub(crate) fn canonical(numeral: &str) -> Result<Cow<'_, str>, String> {
    if is_short_plain_integer(numeral) {
        return Ok(Cow::Borrowed(numeral));
    }
    let not_a_number = || format!("The parameter cannot be converted to a numeric value: {numeral}");
    let (negative, unsigned) = match numeral.as_bytes().first() {
        Some(b'-') => (true, numeral.split_at(1).1),
        Some(b'+') => (false, numeral.split_at(1).1),
        _ => (false, numeral),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().map_err(|_| not_a_number())?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
        return Err(not_a_number());
    }
    let joined = format!("{whole}{fraction}");
    let leading = joined.len() - joined.trim_start_matches('0').len();
    let digits = joined.trim_matches('0');
    if digits.is_empty() {
        return Ok(Cow::Borrowed("0"));
    }
    if digits.len() > MAX_DIGITS {
        return Err("Attempting to store more than 38 significant digits in a Number".into());
    }
    // value = 0.d1d2d3... * 10^point, where d1 is the first significant digit
    let length = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let point = length(whole.len()).saturating_sub(length(leading)).saturating_add(exponent);
    if point - 1 > MAX_EXPONENT {
        return Err("Number overflow. Attempting to store a number with magnitude larger than supported range".into());
    }
    if point - 1 < MIN_EXPONENT {
        return Err("Number underflow. Attempting to store a number with magnitude smaller than supported range".into());
    }
    Ok(Cow::Owned(plain(negative, digits, point)))
}

/// `0.digits * 10^point` written without an exponent.
fn plain(negative: bool, digits: &str, point: i64) -> String {
    let mut out = String::with_capacity(digits.len() + 4);
    if negative {
        out.push('-');
    }
    match usize::try_from(point) {
        Ok(point) if point >= digits.len() => {
            out.push_str(digits);
            out.extend(std::iter::repeat_n('0', point - digits.len()));
        }
        Ok(point) if point > 0 => {
            let (whole, fraction) = digits.split_at(point);
            out.push_str(whole);
            out.push('.');
            out.push_str(fraction);
        }
        _ => {
            out.push_str("0.");
            out.extend(std::iter::repeat_n('0', usize::try_from(-point).unwrap_or(0)));
            out.push_str(digits);
        }
    }
    out
}

/// The common case, decided without allocating: a plain integer of at most 38 digits, no sign, no leading zero.
fn is_short_plain_integer(s: &str) -> bool {
    let bytes = s.as_bytes();
    match bytes {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.len() < MAX_DIGITS && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn equal_numbers_have_one_form() {
        for (given, expected) in [
            ("1", "1"),
            ("1.0", "1"),
            ("+1", "1"),
            ("10E-1", "1"),
            ("0.1e1", "1"),
            ("000", "0"),
            ("-0", "0"),
            ("-0.50", "-0.5"),
            (".5", "0.5"),
            ("00120.0300", "120.03"),
            ("1e3", "1000"),
            ("1E-3", "0.001"),
            ("99999999999999999999999999999999999999", "99999999999999999999999999999999999999"),
        ] {
            assert_eq!(canonical(given).as_deref(), Ok(expected), "{given}");
        }
    }

    #[test]
    fn what_dynamodb_cannot_hold_is_refused() {
        for bad in
            ["", "-", "abc", "1e", "1e126", "1e-131", "0x10", "NaN", "1 ", "123456789012345678901234567890123456789"]
        {
            assert!(canonical(bad).is_err(), "{bad}");
        }
        assert!(canonical("9.9e125").is_ok());
        assert!(canonical("1e-130").is_ok());
    }
}
