//! `plimsoll promote`: asks, starts, and follows to the end.
//!
//! Invariants: nothing is started without `--yes` or the application's name typed by a human who has just read the gate's
//! numbers; the request names the plan that was read, so another one is refused. One run of the command is one promotion:
//! its idempotency key is fixed before the first call, and asking again after a lost answer is the same call.
//!
//! Exit: 0 done (or, without `--wait`, started), 3 held, 4 refused, 1 anything else.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::client::{Client, Connection, Failure};
use super::{complain, follow, print};
use crate::change::StoreId;
use crate::promote::{Acceptance, PlanView};
use crate::seams::{Ids, SharedClock, SystemClock, SystemIds};
use crate::serve::status::Status;

pub(super) const EXAMPLE: &str = "Example:\n  \
    plimsoll plan\n  \
    plimsoll promote --reason \"us-east-1 is gone\" --accept-loss orders=45s --wait";

/// Sendings of one request, while no answer comes.
const TRIES: u32 = 5;
/// Between two sendings.
const PAUSE: Duration = Duration::from_secs(1);

/// What `plimsoll promote` takes.
#[derive(Debug, Clone, Args)]
pub(super) struct PromoteArgs {
    /// The daemon.
    #[command(flatten)]
    pub(super) connection: Connection,
    /// Why; it goes into the report
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: String,
    /// Accepts the loss of so much of a store, or of what came after an instant; may be repeated
    #[arg(long, value_name = "STORE=30s|STORE@TIME", value_parser = acceptance)]
    pub(super) accept_loss: Vec<(StoreId, Acceptance)>,
    /// Accepts that a store without a number is lost entirely; may be repeated
    #[arg(long, value_name = "STORE", value_parser = StoreId::new)]
    pub(super) accept_unknown: Vec<StoreId>,
    /// What kind of promotion
    #[arg(long, value_enum, default_value_t = Kind::Failover)]
    pub(super) mode: Kind,
    /// Does not ask
    #[arg(long)]
    pub(super) yes: bool,
    /// Follows it to its end: exit 0 done, 3 held, 4 refused
    #[arg(long)]
    pub(super) wait: bool,
    /// The same key again is the same promotion; a fresh one unless given
    #[arg(long, value_name = "KEY")]
    pub(super) idempotency_key: Option<String>,
}

/// What kind of promotion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// prodX is lost or given up
    Failover,
    /// Both regions are well and nothing may be lost (refused: not in this version)
    Switchover,
    /// A rehearsal (refused: not in this version; `plimsoll plan` runs every check)
    Drill,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Failover => "failover",
            Kind::Switchover => "switchover",
            Kind::Drill => "drill",
        }
    }
}

fn acceptance(text: &str) -> Result<(StoreId, Acceptance), String> {
    let at = text.find(['=', '@']).ok_or("write STORE=30s, or STORE@2026-11-23T14:02:07Z")?;
    let (store, rest) = text.split_at(at);
    let store = StoreId::new(store).map_err(|e| e.to_string())?;
    Ok((store, rest.strip_prefix('=').unwrap_or(rest).parse()?))
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Done,
    Held,
    Refused,
}

impl From<Ended> for ExitCode {
    fn from(ended: Ended) -> ExitCode {
        match ended {
            Ended::Done => ExitCode::SUCCESS,
            Ended::Held => ExitCode::from(3),
            Ended::Refused => ExitCode::from(4),
        }
    }
}

/// Promotes.
pub(super) async fn run(args: &PromoteArgs) -> ExitCode {
    match carry_out(args).await {
        Ok(ended) => ended.into(),
        Err(failure) => complain(&format!("error: {failure}")),
    }
}

async fn carry_out(args: &PromoteArgs) -> Result<Ended, Failure> {
    let client = Client::new(&args.connection)?;
    let clock = SystemClock::shared();
    let losses = args.accept_loss.iter().map(|(store, loss)| (store.to_string(), json!(loss)));
    let mut body = json!({
        "mode": args.mode.word(),
        "reason": args.reason,
        "accept_loss": losses.collect::<serde_json::Map<_, _>>(),
        "accept_unknown": args.accept_unknown,
    });
    if !args.yes {
        body["plan"] = json!(consent(&client).await?);
    }
    let key = args.idempotency_key.clone().unwrap_or_else(|| SystemIds.id());
    let started = match start(&client, &clock, &key, &body).await {
        Ok(started) => started,
        Err(failure) if failure.name() == Some("gate-refused") => {
            complain(&format!("REFUSED: {}", failure.sentence));
            return Ok(Ended::Refused);
        }
        Err(failure) => return Err(failure),
    };
    let id = started["id"].as_str().unwrap_or_default().to_owned();
    let repeated = if started["repeated"] == true { " (it had been started before with this key)" } else { "" };
    print(&format!("promotion {id} started{repeated}\n"));
    if args.wait {
        return follow::to_the_end(&client, &clock, &id).await;
    }
    print(&format!(
        "follow it with: plimsoll promote --wait with the same arguments, --yes and --idempotency-key {key}\n"
    ));
    Ok(Ended::Done)
}

/// Sends the request until there is an answer. The key makes that one promotion, however often it arrives.
async fn start(client: &Client, clock: &SharedClock, key: &str, body: &Value) -> Result<Value, Failure> {
    let mut tries = 1;
    loop {
        match client.post::<Value>("/v1/promote", key, body).await {
            Err(failure) if failure.again && tries < TRIES => {
                complain(&format!("{failure}; trying again"));
                tries += 1;
                clock.sleep(PAUSE).await;
            }
            Err(failure) if failure.again => {
                let hint = format!(
                    "it may have been started all the same; ask again with --idempotency-key {key}, which never starts a second one"
                );
                return Err(Failure { hint: Some(hint), ..failure });
            }
            answer => return answer,
        }
    }
}

/// Shows the numbers and asks for the application's name. Gives the hash of the plan that was shown.
async fn consent(client: &Client) -> Result<String, Failure> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Failure::new("nobody is here to be asked", "give --yes to promote without being asked"));
    }
    let status: Status = client.get("/v1/status").await?;
    let plan: PlanView = client.get("/v1/plan").await?;
    let (app, from, to) = (&status.app, &status.primary.region, &status.standby.region);
    let question = format!(
        "{}\n{to} takes over {app} from {from}. From the fence on there is no way back by this command.\n\
         Type the name of the application ({app}) to promote: ",
        plan.text()
    );
    let typed = ask(&question).map_err(|e| Failure::new(format!("the answer cannot be read: {e}"), "give --yes"))?;
    if typed == *app { Ok(plan.hash) } else { Err(Failure::new("not promoted", format!("the name to type is {app}"))) }
}

fn ask(question: &str) -> std::io::Result<String> {
    let mut out = std::io::stderr().lock();
    out.write_all(question.as_bytes())?;
    out.flush()?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acceptance_is_a_store_and_a_number_or_an_instant() {
        for (text, shown) in [
            ("orders=30s", "30s"),
            ("orders=90", "90s"),
            ("orders@2026-11-23T14:02:07Z", "@2026-11-23T14:02:07.000Z"),
            ("orders=@2026-11-23T14:02:07Z", "@2026-11-23T14:02:07.000Z"),
        ] {
            let (store, loss) = acceptance(text).unwrap();
            assert_eq!((store.as_str(), loss.to_string().as_str()), ("orders", shown));
        }
        for bad in ["orders", "orders=", "Orders=3s", "=3s", "orders=soon", "orders@noon"] {
            assert!(acceptance(bad).is_err(), "{bad}");
        }
    }
}
