//! Reports and plans as text for a tired human: the answer first, then the numbers, then the details. No colour, no
//! width beyond what wraps well; what is wrong is in capitals.

use super::gate::{Ruling, StoreVerdict, Verdict};
use super::preview::PlanView;
use super::record::FenceState;
use super::report::Report;
use super::state::Stage;

/// Rows with their columns padded to the widest cell; the last column is free.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|r| r.get(column)).map(|c| c.chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::from(" ");
        for (at, cell) in row.iter().enumerate() {
            line.push(' ');
            line.push_str(cell);
            if at + 1 < row.len() {
                let pad = widths.get(at).copied().unwrap_or(0).saturating_sub(cell.chars().count());
                line.extend(std::iter::repeat_n(' ', pad + 1));
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn ruling(store: &StoreVerdict) -> &'static str {
    match store.ruling {
        Ruling::Within => "within the objective",
        Ruling::Accepted => "accepted",
        Ruling::Refused => "REFUSED",
    }
}

fn loss(store: &StoreVerdict) -> String {
    store.loss_seconds.map_or_else(|| "no bound".into(), |s| format!("{s}"))
}

/// The gate as a table, then the refusals in full.
fn verdict(gate: &Verdict) -> String {
    let mut rows = vec![
        ["store", "state", "loss up to", "objective", "method", "changes lost after", "gate"]
            .map(String::from)
            .to_vec(),
    ];
    for store in &gate.stores {
        rows.push(vec![
            store.store.to_string(),
            store.state.clone(),
            loss(store),
            store.objective_seconds.to_string(),
            store.method.map_or("-", |m| m.label()).to_owned(),
            store.watermark.map_or_else(|| "-".into(), |w| w.to_second()),
            ruling(store).to_owned(),
        ]);
    }
    let mut text = table(&rows);
    for store in gate.refused() {
        text += &format!("  {}\n", store.why);
    }
    text
}

impl Report {
    /// The report as text.
    pub fn text(&self) -> String {
        let headline = match (self.stage, self.rto_seconds) {
            (Stage::Completed, Some(rto)) => {
                let within = if rto <= self.rto_objective_seconds { "within" } else { "OVER" };
                format!("COMPLETED in {rto}, {within} the objective of {}", self.rto_objective_seconds)
            }
            (Stage::Refused, _) => "REFUSED: nothing was promoted, replication goes on".into(),
            (Stage::Held, _) => "HELD: it waits for a human".into(),
            (Stage::Fenced, _) => "promoting, behind the fence".into(),
            _ => "promoting, before the fence".into(),
        };
        let mut text = format!("Promotion {}: {headline}\n", self.promotion);
        if let Some(trouble) = &self.trouble {
            text += &format!("  {trouble}\n");
        }
        if self.stage == Stage::Held {
            text += &format!("  To go on, as an approver: POST /v1/promotions/{}/resume\n", self.promotion);
        }
        text += &format!(
            "\nAsked for by {} at {} (mode {})\n  because: {}\n",
            self.by.name,
            self.requested_at.to_second(),
            self.request.mode.label(),
            self.request.reason
        );
        for (store, accepted) in &self.request.accept_loss {
            text += &format!("  accepted: {store} loses {accepted}\n");
        }
        for store in &self.request.accept_unknown {
            text += &format!("  accepted: {store} may be lost entirely\n");
        }
        match &self.frozen {
            Some(frozen) => {
                text += &format!("\nLost at most (frozen at the fence, {}):\n", frozen.at.to_second());
                text += &verdict(&frozen.gate);
                for store in frozen.stores.iter().filter(|s| s.parked > 0) {
                    text += &format!(
                        "  {}: {} changes that the standby refused wait in the index\n",
                        store.store, store.parked
                    );
                }
                text += match frozen.fence {
                    FenceState::Confirmed => "  prodX is fenced: it cannot write any more.\n",
                    FenceState::Unconfirmed => {
                        "  prodX is NOT known to be fenced: what it still writes is in no standby. Cut it off.\n"
                    }
                };
            }
            None => {
                text += "\nLoss at the call:\n";
                text += &verdict(&self.gate);
            }
        }
        if !self.catch_up.is_empty() {
            text += "\nCatch-up:\n";
            let row =
                |s: &super::record::CaughtUpStore| vec![s.store.to_string(), format!("{} left", s.left), s.why.clone()];
            text += &table(&self.catch_up.iter().map(row).collect::<Vec<_>>());
        }
        text += "\nSteps:\n";
        text += &self.steps_text();
        if !self.log.is_empty() {
            text += "\nLog:\n";
            let row = |line: &super::report::LogLine| vec![line.at.time_of_day(), line.text.clone()];
            text += &table(&self.log.iter().map(row).collect::<Vec<_>>());
        }
        text
    }

    fn steps_text(&self) -> String {
        let mut rows = vec![["step", "phase", "started", "ended", "sent", "result", ""].map(String::from).to_vec()];
        for step in &self.steps {
            let result = match (&step.end, step.started_at) {
                (Some(end), _) => end.word(),
                (None, Some(_)) => "NOT DONE",
                (None, None) => "-",
            };
            let time = |at: Option<super::When>| at.map_or_else(|| "-".into(), |at| at.time_of_day());
            rows.push(vec![
                step.id.to_string(),
                step.phase.label().to_owned(),
                time(step.started_at),
                time(step.ended_at),
                format!("{}x", step.attempts),
                result.to_owned(),
                step.last.clone().unwrap_or_default(),
            ]);
        }
        table(&rows)
    }
}

impl PlanView {
    /// The plan as text.
    pub fn text(&self) -> String {
        let headline = match &self.promoted_by {
            Some(promotion) => format!("ALREADY PROMOTED, by promotion {promotion}"),
            None if self.gate.passes => "a promotion would pass the gate now".to_owned(),
            None => "a promotion would be REFUSED now".to_owned(),
        };
        let mut text = format!("Plan {}: {headline}\n\nPredicted loss at {}:\n", self.hash, self.gate.at.to_second());
        text += &verdict(&self.gate);
        if self.stores_without_bound > 0 {
            text += &format!("  {} stores have no number: nothing bounds their loss\n", self.stores_without_bound);
        }
        text += &format!("\nSteps (RTO objective {}):\n", self.rto_objective_seconds);
        let mut rows = vec![["#", "step", "phase", "", "", "deadline", "now"].map(String::from).to_vec()];
        for step in &self.steps {
            let now = match (&step.world, &step.check_error) {
                (Some(world), _) => match world.detail() {
                    Some(detail) if !detail.is_empty() => format!("{}: {detail}", world.word()),
                    _ => world.word().to_owned(),
                },
                (None, Some(error)) => format!("CHECK FAILED: {error}"),
                (None, None) => "-".into(),
            };
            rows.push(vec![
                (step.wave + 1).to_string(),
                step.id.to_string(),
                step.phase.label().to_owned(),
                if step.required { "required" } else { "best effort" }.to_owned(),
                if step.reversible { "reversible" } else { "NO WAY BACK" }.to_owned(),
                step.deadline_seconds.to_string(),
                now,
            ]);
        }
        text += &table(&rows);
        text += "\nExact calls:\n";
        let calls = |s: &super::preview::StepView| {
            s.calls.iter().map(|call| vec![s.id.to_string(), call.clone()]).collect::<Vec<_>>()
        };
        text += &table(&self.steps.iter().flat_map(calls).collect::<Vec<_>>());
        text
    }
}
