//! Follows a promotion: its events as lines, over lost connections and restarts of the daemon, and its report at the end.

use std::time::Duration;

use super::client::{Client, Failure};
use super::promote::Ended;
use super::{complain, print};
use crate::promote::{Entry, Event, Report, Stage};
use crate::seams::SharedClock;

/// The longest pause before a stream is opened again.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The lines of an event stream, put together from its chunks.
#[derive(Debug, Default)]
struct Lines {
    rest: Vec<u8>,
    data: String,
}

impl Lines {
    /// The data of every event that is complete by now.
    fn push(&mut self, chunk: &[u8]) -> Vec<String> {
        self.rest.extend_from_slice(chunk);
        let mut complete = Vec::new();
        while let Some(end) = self.rest.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            match line.strip_prefix("data:") {
                Some(data) => self.data += data.strip_prefix(' ').unwrap_or(data),
                None if line.is_empty() && !self.data.is_empty() => complete.push(std::mem::take(&mut self.data)),
                None => {}
            }
        }
        complete
    }
}

/// Follows until it is done, refused or held, and prints the report.
pub(super) async fn to_the_end(client: &Client, clock: &SharedClock, id: &str) -> Result<Ended, Failure> {
    let (mut last, mut pause, mut silent) = (None, Duration::ZERO, false);
    loop {
        match read_stream(client, id, &mut last).await {
            Ok(()) => pause = Duration::ZERO,
            Err(failure) if failure.again => {
                if !silent {
                    complain(&format!("{failure}; the promotion goes on without us, and we look again"));
                }
                silent = true;
            }
            Err(failure) => return Err(failure),
        }
        // The stream has ended or is broken: what is true now is in the report, not in the events that were seen.
        match client.get::<Report>(&format!("/v1/promotions/{id}")).await {
            Ok(report) => {
                silent = false;
                if let Some(ended) = ended(&report) {
                    // What happened while we were cut off is told before the report.
                    if last.is_none_or(|seen| seen < report.last_event)
                        && let Err(failure) = read_stream(client, id, &mut last).await
                    {
                        complain(&failure.to_string());
                    }
                    print(&format!("\n{}", report.text()));
                    return Ok(ended);
                }
            }
            Err(failure) if failure.again => {}
            Err(failure) => return Err(failure),
        }
        pause = (pause * 2).clamp(Duration::from_millis(500), PAUSE_MAX);
        clock.sleep(pause).await;
    }
}

/// A promotion that stands still because its journal cannot be written is held too, whatever its stage.
fn ended(report: &Report) -> Option<Ended> {
    match report.stage {
        Stage::Completed => Some(Ended::Done),
        Stage::Refused => Some(Ended::Refused),
        Stage::Held => Some(Ended::Held),
        Stage::New | Stage::Running | Stage::Fenced => report.trouble.as_ref().map(|_| Ended::Held),
    }
}

/// Reads one stream until it ends, or until an event says that a human is needed.
async fn read_stream(client: &Client, id: &str, last: &mut Option<u64>) -> Result<(), Failure> {
    let mut answer = client.events(&format!("/v1/promotions/{id}/events"), *last).await?;
    let mut lines = Lines::default();
    while let Some(chunk) = client.chunk(&mut answer).await? {
        let complete = lines.push(&chunk);
        // Only a comment: nothing has happened for a while. The report may know why.
        if complete.is_empty() && lines.rest.is_empty() && lines.data.is_empty() {
            return Ok(());
        }
        for data in complete {
            let event: Event = match serde_json::from_str(&data) {
                Ok(event) => event,
                // A newer daemon may know events that this program does not.
                Err(error) => {
                    tracing::debug!(%error, "an event that this program does not know");
                    continue;
                }
            };
            *last = Some(event.seq);
            print(&format!("{}  {}\n", event.record.at.time_of_day(), sentence(&event.record.entry)));
            if matches!(event.record.entry, Entry::Held { .. }) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// An event as a line.
fn sentence(entry: &Entry) -> String {
    match entry {
        Entry::Requested { request, by, gate, .. } => {
            let passes = if gate.passes { "the gate passes" } else { "the gate REFUSES" };
            format!("requested by {}: {}; {passes}", by.name, request.reason)
        }
        Entry::Intent { step, attempt: 1, .. } => format!("{step}: begins"),
        Entry::Intent { step, attempt, .. } => format!("{step}: attempt {attempt}"),
        Entry::Outcome { step, result, .. } => format!("{step}: sent ({})", plain(result)),
        Entry::Checked { step, world } => format!("{step}: found {}", plain(world)),
        Entry::Settled { step, end } => match end.detail() {
            Some(detail) if !detail.is_empty() => format!("{step}: {} ({detail})", end.word()),
            _ => format!("{step}: {}", end.word()),
        },
        Entry::CaughtUp { stores, .. } => {
            let left: Vec<_> = stores.iter().map(|s| format!("{} {} left, {}", s.store, s.left, s.why)).collect();
            format!("caught up: {}", left.join("; "))
        }
        Entry::Fenced { report } => {
            let lost: Vec<_> = report.stores.iter().map(|s| format!("{}: {}", s.store, s.cutoff)).collect();
            format!("FENCED: nothing flows from prodX any more. {}", lost.join("; "))
        }
        Entry::Held { why, .. } => format!("HELD: {why}"),
        Entry::Resumed { by, .. } => {
            format!("resumed by {}", by.as_ref().map_or("Plimsoll itself, after a restart", |p| p.name.as_str()))
        }
        Entry::Refused { why, .. } => format!("REFUSED: {why}"),
        Entry::Noted { text, by } => format!("note by {}: {text}", by.as_ref().map_or("Plimsoll", |p| p.name.as_str())),
        Entry::Completed { rto_seconds } => format!("COMPLETED in {rto_seconds}"),
    }
}

/// A tagged value in words: `failed: no such host`.
fn plain<T: serde::Serialize>(value: &T) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    let word = ["world", "result"].into_iter().find_map(|tag| value[tag].as_str()).unwrap_or("?").replace('_', " ");
    match value["detail"].as_str() {
        Some(detail) if !detail.is_empty() => format!("{word}: {detail}"),
        _ => word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_put_together_from_any_chunks() {
        let stream = b"id: 1\nevent: a\ndata: {\"x\":1}\n\n: still here\n\nid: 2\r\ndata: two\r\n\r\nid: 3\ndata: cut";
        for size in 1..stream.len() {
            let mut lines = Lines::default();
            let all: Vec<String> = stream.chunks(size).flat_map(|chunk| lines.push(chunk)).collect();
            assert_eq!(all, ["{\"x\":1}", "two"], "chunks of {size}");
        }
    }
}
