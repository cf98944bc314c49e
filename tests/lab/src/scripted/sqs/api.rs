//! The wire protocol of SQS: AWS JSON 1.0 with the error header that tells the codes of its old query protocol.

use super::queue::{Handled, QueueSettings, Received};
use super::{Desk, QueueCell};
use crate::scripted::acting::{Answered, Deed, Manner, act};
use crate::scripted::clock::{epoch_millis, epoch_seconds};
use crate::scripted::faults::Call;
use crate::scripted::model::error::AwsError;
use crate::scripted::region::Fault;
use crate::scripted::wire::{Api, Reply, Replying, WireRequest, json};
use hyper::StatusCode;
use hyper::header::HeaderValue;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The longest time between two looks of a poll that waits: what the clock reveals is found by then.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// SQS over the queues of one server.
pub(crate) struct SqsApi(pub(crate) Arc<Desk>);

impl Api for SqsApi {
    fn claims(&self, request: &WireRequest) -> bool {
        request.target().is_some_and(|(service, _)| service == "AmazonSQS")
    }

    fn answer(self: Arc<Self>, request: WireRequest) -> Replying {
        let desk = Arc::clone(&self.0);
        Box::pin(async move {
            let op = request.target().map(|(_, op)| op).and_then(operation).unwrap_or("Unknown");
            let input = match serde_json::from_slice::<Value>(&request.body) {
                Ok(input) => input,
                Err(error) => return refused(&AwsError::new(400, "SerializationException", error.to_string())),
            };
            let queue = queue_of(&input).to_owned();
            let call =
                Call { op, tables: vec![&queue], path: request.uri.path(), body: &request.body, ..Call::default() };
            let region = Arc::clone(&desk.region);
            let fault = region.met(op, &call).await;
            let keep = match fault {
                Some(Fault::Unprocessed { keep }) => keep,
                _ => usize::MAX,
            };
            let deed: Deed = Box::pin(async move { perform(&desk, op, &input, keep).await.map(done) });
            act(&region, fault, deed, &SQS).await
        })
    }
}

const OPERATIONS: [&str; 14] = [
    "CreateQueue",
    "DeleteQueue",
    "GetQueueUrl",
    "ListQueues",
    "SendMessage",
    "SendMessageBatch",
    "ReceiveMessage",
    "DeleteMessage",
    "DeleteMessageBatch",
    "ChangeMessageVisibility",
    "ChangeMessageVisibilityBatch",
    "GetQueueAttributes",
    "SetQueueAttributes",
    "PurgeQueue",
];

fn operation(name: &str) -> Option<&'static str> {
    OPERATIONS.into_iter().find(|op| *op == name)
}

static SQS: Manner = Manner { refused, throttled: (400, "RequestThrottled"), failed: (500, "InternalFailure") };

fn done(output: Value) -> Answered {
    match json(StatusCode::OK, output.to_string().into_bytes()) {
        Reply::Answer(response) => response,
        Reply::Close | Reply::Never => unreachable!("JSON is always an answer"),
    }
}

/// The error as JSON, and its code as the query protocol had it in a header.
fn refused(error: &AwsError) -> Reply {
    let body = json!({ "__type": format!("com.amazonaws.sqs#{}", error.code), "message": error.message });
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut reply = json(status, body.to_string().into_bytes());
    let old = match &*error.code {
        "QueueDoesNotExist" => "AWS.SimpleQueueService.NonExistentQueue",
        "MessageNotInflight" => "AWS.SimpleQueueService.MessageNotInflight",
        "PurgeQueueInProgress" => "AWS.SimpleQueueService.PurgeQueueInProgress",
        "EmptyBatchRequest" => "AWS.SimpleQueueService.EmptyBatchRequest",
        "TooManyEntriesInBatchRequest" => "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
        "QueueNameExists" => "QueueAlreadyExists",
        code => code,
    };
    let side = if error.status < 500 { "Sender" } else { "Receiver" };
    if let (Reply::Answer(response), Ok(value)) = (&mut reply, HeaderValue::try_from(format!("{old};{side}"))) {
        response.headers_mut().insert("x-amzn-query-error", value);
    }
    reply
}

fn queue_of(input: &Value) -> &str {
    let url = input["QueueUrl"].as_str().unwrap_or_default();
    let named = input["QueueName"].as_str().unwrap_or_default();
    url.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(named)
}

fn invalid(message: impl Into<String>) -> AwsError {
    AwsError::new(400, "InvalidParameterValue", message)
}

fn seconds(value: &Value) -> Option<Duration> {
    let whole = value.as_u64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
    whole.map(Duration::from_secs)
}

async fn perform(desk: &Arc<Desk>, op: &'static str, input: &Value, keep: usize) -> Result<Value, AwsError> {
    if op == "CreateQueue" {
        return create(desk, input);
    }
    if op == "ListQueues" {
        let prefix = input["QueueNamePrefix"].as_str().unwrap_or_default();
        let urls: Vec<String> =
            desk.names().iter().filter(|name| name.starts_with(prefix)).map(|name| desk.url(name)).collect();
        return Ok(json!({ "QueueUrls": urls }));
    }
    let missing = || AwsError::new(400, "QueueDoesNotExist", "The specified queue does not exist.");
    let cell = desk.cell(queue_of(input)).ok_or_else(missing)?;
    let now = desk.region.now();
    match op {
        "DeleteQueue" => {
            desk.remove(&cell.name);
            Ok(json!({}))
        }
        "GetQueueUrl" => Ok(json!({ "QueueUrl": desk.url(&cell.name) })),
        "SendMessage" => send(desk, &cell, input),
        "SendMessageBatch" => batch(input, keep, |entry| send(desk, &cell, entry)),
        "ReceiveMessage" => receive(desk, &cell, input, keep).await,
        "DeleteMessage" => delete(&cell, input, now),
        "DeleteMessageBatch" => batch(input, keep, |entry| delete(&cell, entry, now)),
        "ChangeMessageVisibility" => hide(&cell, input, now),
        "ChangeMessageVisibilityBatch" => batch(input, keep, |entry| hide(&cell, entry, now)),
        "GetQueueAttributes" => Ok(attributes(desk, &cell, input)),
        "SetQueueAttributes" => {
            let mut queue = cell.lock();
            queue.settings = set(queue.settings.clone(), &input["Attributes"])?;
            Ok(json!({}))
        }
        "PurgeQueue" => {
            cell.lock().purge();
            Ok(json!({}))
        }
        _ => Err(AwsError::new(400, "InvalidAction", "The scripted server has no such operation of SQS.")),
    }
}

fn create(desk: &Desk, input: &Value) -> Result<Value, AwsError> {
    let name = queue_of(input);
    let settings = set(QueueSettings::default(), &input["Attributes"])?;
    if !desk.create(name, settings.clone()) && desk.cell(name).is_some_and(|cell| cell.lock().settings != settings) {
        return Err(AwsError::new(
            400,
            "QueueNameExists",
            "A queue already exists with the same name and a different value",
        ));
    }
    Ok(json!({ "QueueUrl": desk.url(name) }))
}

/// The settings with these attributes.
fn set(mut settings: QueueSettings, attributes: &Value) -> Result<QueueSettings, AwsError> {
    for (name, value) in attributes.as_object().into_iter().flatten() {
        let number =
            || seconds(value).ok_or_else(|| AwsError::new(400, "InvalidAttributeValue", format!("{name}: {value}")));
        match name.as_str() {
            "VisibilityTimeout" => settings.visibility = number()?,
            "DelaySeconds" => settings.delay = number()?,
            "MessageRetentionPeriod" => settings.retention = number()?,
            "ReceiveMessageWaitTimeSeconds" => settings.wait = number()?,
            "MaximumMessageSize" => {
                settings.maximum_message_size = usize::try_from(number()?.as_secs()).unwrap_or(usize::MAX)
            }
            "RedrivePolicy" => {
                let policy: Value = serde_json::from_str(value.as_str().unwrap_or_default()).unwrap_or_default();
                let arn = policy["deadLetterTargetArn"].as_str().unwrap_or_default();
                let most = seconds(&policy["maxReceiveCount"]).map_or(0, |most| most.as_secs());
                let name = arn.rsplit(':').next().unwrap_or_default().to_owned();
                settings.redrive = (most > 0).then(|| (name, u32::try_from(most).unwrap_or(u32::MAX)));
            }
            _ => {}
        }
    }
    Ok(settings)
}

fn send(desk: &Desk, cell: &QueueCell, entry: &Value) -> Result<Value, AwsError> {
    let body = entry["MessageBody"].as_str().unwrap_or_default();
    let mut queue = cell.lock();
    if body.is_empty() || body.len() > queue.settings.maximum_message_size {
        let most = queue.settings.maximum_message_size;
        return Err(invalid(format!(
            "One or more parameters are invalid. Reason: Message must be shorter than {most} bytes."
        )));
    }
    let id = desk.fresh_message_id();
    queue.send(id.clone(), body.into(), seconds(&entry["DelaySeconds"]), desk.region.now());
    drop(queue);
    cell.arrived.notify_waiters();
    Ok(json!({ "MessageId": id, "MD5OfMessageBody": "00000000000000000000000000000000" }))
}

fn batch(input: &Value, keep: usize, each: impl Fn(&Value) -> Result<Value, AwsError>) -> Result<Value, AwsError> {
    let entries = input["Entries"].as_array().map_or(&[][..], Vec::as_slice);
    if entries.is_empty() {
        return Err(AwsError::new(400, "EmptyBatchRequest", "There should be at least one entry in the request."));
    }
    if entries.len() > 10 {
        return Err(AwsError::new(
            400,
            "TooManyEntriesInBatchRequest",
            "Maximum number of entries per request are 10.",
        ));
    }
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for (nth, entry) in entries.iter().enumerate() {
        let outcome = if nth < keep { each(entry) } else { Err(AwsError::new(500, "InternalError", "It failed.")) };
        match outcome {
            Ok(mut output) => {
                output["Id"] = entry["Id"].clone();
                good.push(output);
            }
            Err(error) => bad.push(json!({
                "Id": entry["Id"], "SenderFault": error.status < 500, "Code": error.code, "Message": error.message,
            })),
        }
    }
    Ok(json!({ "Successful": good, "Failed": bad }))
}

fn delete(cell: &QueueCell, entry: &Value, now: std::time::SystemTime) -> Result<Value, AwsError> {
    match cell.lock().delete(entry["ReceiptHandle"].as_str().unwrap_or_default(), now) {
        // AWS answers with success to a handle that is no longer good, and deletes nothing.
        Handled::Done | Handled::Stale => Ok(json!({})),
        Handled::NotInFlight | Handled::TooLong | Handled::Unknown => {
            Err(AwsError::new(400, "ReceiptHandleIsInvalid", "The input receipt handle is invalid."))
        }
    }
}

fn hide(cell: &QueueCell, entry: &Value, now: std::time::SystemTime) -> Result<Value, AwsError> {
    let visibility = seconds(&entry["VisibilityTimeout"]).unwrap_or_default();
    match cell.lock().hide(entry["ReceiptHandle"].as_str().unwrap_or_default(), visibility, now) {
        Handled::Done => Ok(json!({})),
        Handled::NotInFlight => Err(AwsError::new(400, "MessageNotInflight", "The message is not in flight.")),
        Handled::Stale => {
            Err(invalid("Reason: Message does not exist or is not available for visibility timeout change."))
        }
        Handled::TooLong => {
            Err(invalid("Reason: Total VisibilityTimeout for the message is beyond the limit [43200 seconds]"))
        }
        Handled::Unknown => Err(AwsError::new(400, "ReceiptHandleIsInvalid", "The input receipt handle is invalid.")),
    }
}

async fn receive(desk: &Arc<Desk>, cell: &Arc<QueueCell>, input: &Value, keep: usize) -> Result<Value, AwsError> {
    let most = input["MaxNumberOfMessages"].as_u64().unwrap_or(1);
    if !(1..=10).contains(&most) {
        return Err(invalid("Value for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10."));
    }
    let most = usize::try_from(most).unwrap_or(10).min(keep);
    let visibility = seconds(&input["VisibilityTimeout"]);
    let wait = seconds(&input["WaitTimeSeconds"]).unwrap_or(cell.lock().settings.wait);
    if wait > Duration::from_secs(20) {
        return Err(invalid("Value for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20."));
    }
    let until = Instant::now() + wait;
    loop {
        // Before the look, so that what comes in between wakes it.
        let arrived = cell.arrived.notified();
        tokio::pin!(arrived);
        arrived.as_mut().enable();
        let now = desk.region.now();
        let Received { messages, dead, over_limit } = cell.lock().receive(most, visibility, now);
        if !dead.is_empty() {
            let target = cell.lock().settings.redrive.clone().and_then(|(name, _)| desk.cell(&name));
            if let Some(target) = target {
                dead.into_iter().for_each(|message| target.lock().take(message));
                target.arrived.notify_waiters();
            }
        }
        if over_limit {
            return Err(AwsError::new(403, "OverLimit", "Too many messages are in flight."));
        }
        if !messages.is_empty() || Instant::now() >= until {
            let messages: Vec<Value> = messages
                .into_iter()
                .map(|(handle, message)| {
                    json!({
                        "MessageId": message.id, "ReceiptHandle": handle, "Body": &*message.body,
                        "MD5OfBody": "00000000000000000000000000000000",
                        "Attributes": {
                            "SentTimestamp": epoch_millis(message.sent_at).to_string(),
                            "ApproximateReceiveCount": message.receives.to_string(),
                            "ApproximateFirstReceiveTimestamp":
                                epoch_millis(message.first_received.unwrap_or(now)).to_string(),
                            "SenderId": "AIDAEXAMPLE",
                        },
                    })
                })
                .collect();
            return Ok(json!({ "Messages": messages }));
        }
        if desk.cell(&cell.name).is_none_or(|there| !Arc::ptr_eq(&there, cell)) {
            return Err(AwsError::new(400, "QueueDoesNotExist", "The specified queue does not exist."));
        }
        // What becomes visible by itself is found at its time, or a little later when the clock was moved.
        let next = cell.lock().next_reveal().and_then(|at| at.duration_since(now).ok());
        let look = next.map_or(LOOK_AGAIN * 20, |next| next.clamp(Duration::from_millis(1), LOOK_AGAIN));
        let deadline = until.min(Instant::now() + look);
        tokio::select! {
            () = arrived => {}
            () = tokio::time::sleep_until(deadline) => {}
        }
    }
}

fn attributes(desk: &Desk, cell: &QueueCell, input: &Value) -> Value {
    let mut queue = cell.lock();
    let depth = queue.approximate(desk.region.now());
    let settings = &queue.settings;
    let secs = |duration: Duration| duration.as_secs().to_string();
    let mut all = vec![
        ("ApproximateNumberOfMessages", depth.waiting.to_string()),
        ("ApproximateNumberOfMessagesNotVisible", depth.in_flight.to_string()),
        ("ApproximateNumberOfMessagesDelayed", depth.delayed.to_string()),
        ("CreatedTimestamp", epoch_seconds(queue.created).to_string()),
        ("LastModifiedTimestamp", epoch_seconds(queue.created).to_string()),
        ("VisibilityTimeout", secs(settings.visibility)),
        ("DelaySeconds", secs(settings.delay)),
        ("MessageRetentionPeriod", secs(settings.retention)),
        ("ReceiveMessageWaitTimeSeconds", secs(settings.wait)),
        ("MaximumMessageSize", settings.maximum_message_size.to_string()),
        ("QueueArn", desk.arn(&cell.name)),
    ];
    if let Some((name, most)) = &settings.redrive {
        let policy = json!({ "deadLetterTargetArn": desk.arn(name), "maxReceiveCount": most.to_string() });
        all.push(("RedrivePolicy", policy.to_string()));
    }
    let asked: Vec<&str> = input["AttributeNames"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let wanted = |name: &str| asked.contains(&"All") || asked.contains(&name);
    let some = all.into_iter().filter(|(name, _)| wanted(name));
    json!({ "Attributes": some.map(|(name, value)| (name.to_owned(), value.into())).collect::<serde_json::Map<_, _>>() })
}
