//! What was measured, and how it is shown: the median of the rounds, with the lowest and the highest.

/// One run of a workload.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) changes: u64,
    pub(crate) seconds: f64,
    pub(crate) cpu: f64,
    pub(crate) peak: f64,
    /// Items written to the standby.
    pub(crate) writes: u64,
    /// Items of the standby that are not those of the source.
    pub(crate) wrong: Option<usize>,
}

/// The runs of one contender.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) runs: Vec<Run>,
}

/// The middle one; of an even number the better of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

/// The value below which a share of them lies.
pub(crate) fn percentile(sorted: &[f64], share: f64) -> f64 {
    let at = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(at.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or_default()
}

impl Row {
    fn values(&self, of: impl Fn(&Run) -> f64) -> (f64, f64, f64) {
        let values: Vec<f64> = self.runs.iter().map(of).collect();
        let (low, high) = values.iter().fold((f64::MAX, 0.0_f64), |(low, high), v| (low.min(*v), high.max(*v)));
        (median(values), low, high)
    }

    fn rate(&self) -> (f64, f64, f64) {
        self.values(|run| run.changes as f64 / run.seconds)
    }

    fn cpu(&self) -> (f64, f64, f64) {
        self.values(|run| run.cpu * 1000.0 / run.changes as f64)
    }
}

/// A table of contenders; the ratios are to the one named `against`.
pub(crate) fn table(title: &str, rows: &[Row], against: &str) -> String {
    let base = rows.iter().find(|row| row.name == against);
    let ratio = |value: f64, base: Option<f64>| match base {
        Some(base) if base > 0.0 => format!("{:.2}", value / base),
        _ => "-".to_owned(),
    };
    let mut text = format!(
        "\n{title}\n{:<34} {:>22} {:>6} {:>24} {:>6} {:>9} {:>7} {:>6}\n",
        "", "changes/s", "ratio", "CPU s/1,000", "ratio", "writes", "RSS MB", "wrong"
    );
    for row in rows {
        let ((rate, slow, fast), (cpu, low, high)) = (row.rate(), row.cpu());
        let wrong = row.runs.iter().filter_map(|run| run.wrong).max().map_or("-".to_owned(), |n| n.to_string());
        text += &format!(
            "{:<34} {:>22} {:>6} {:>24} {:>6} {:>9} {:>7.0} {:>6}\n",
            row.name,
            format!("{rate:.0} ({slow:.0}-{fast:.0})"),
            ratio(rate, base.map(|row| row.rate().0)),
            format!("{cpu:.4} ({low:.4}-{high:.4})"),
            ratio(cpu, base.map(|row| row.cpu().0)),
            row.values(|run| run.writes as f64).0,
            row.values(|run| run.peak).2,
            wrong
        );
    }
    text
}
