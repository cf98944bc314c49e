//! The bare loop: it lists the source and copies each object, so many at one time, and does nothing else. It sets no
//! condition, remembers nothing and checks nothing; and it looks at no object before, unless it is to make the very calls
//! that the daemon makes.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use aws_sdk_s3::Client;
use aws_sdk_s3::types::ChecksumMode;
use plimsoll_lab::clients::{self, Endpoint};
use plimsoll_lab::trouble::{Because, Trouble};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::AT_ONCE;
use super::copies::{Run, Shape};
use crate::bare::apart;
use crate::usage::Usage;

/// The first argument of this program when it is to be the loop.
pub(crate) const BARE: &str = "--bare-objects";

/// Runs the loop in a process of its own.
pub(super) async fn run(
    ends: &(Endpoint, Endpoint),
    buckets: (&str, &str),
    shape: Shape,
    looks: bool,
    folder: &Path,
) -> Result<Run, Trouble> {
    let (x, y) = ends;
    let looks = if looks { "looks" } else { "blind" };
    let args = [BARE, shape.transfer(), looks, &x.url, &x.region, &y.url, &y.region, buckets.0, buckets.1];
    let run = apart(&args, shape.count as u64, folder).await?;
    Ok(Run { seconds: run.seconds, cpu: run.cpu, peak: run.peak, ..Run::default() })
}

/// Is the loop, with the arguments that [`run`] gave; prints what it measured as JSON.
pub(crate) async fn be(args: &[String]) -> Result<Value, Trouble> {
    let [transfer, looks, source, source_region, target, target_region, bucket, standby] = args else {
        return Err(Trouble::new("a bare loop of objects needs eight arguments"));
    };
    let source = clients::s3_once(&Endpoint::new(source, source_region));
    let target = clients::s3_once(&Endpoint::new(target, target_region));
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let (before, began) = (Usage::of("self")?, Instant::now());
    let (mut copies, mut writes, mut token) = (JoinSet::new(), 0_u64, None);
    loop {
        let page = source.list_objects_v2().bucket(bucket).set_continuation_token(token).send().await;
        let page = page.because("could not list the source")?;
        for key in page.contents().iter().filter_map(|object| object.key()).map(str::to_owned) {
            let place = Arc::clone(&places).acquire_owned().await.because("the places are never closed")?;
            let (source, target) = (source.clone(), target.clone());
            let (bucket, standby) = (bucket.clone(), standby.clone());
            let (stream, looks) = (transfer == "stream", looks == "looks");
            copies.spawn(async move {
                if looks {
                    look(&source, &target, (&bucket, &standby), &key).await?;
                }
                let copied = if stream {
                    pass(&source, &target, (&bucket, &standby), &key).await
                } else {
                    copy(&target, (&bucket, &standby), &key).await
                };
                drop(place);
                copied
            });
            writes += 1;
        }
        token = page.next_continuation_token;
        if token.is_none() {
            break;
        }
    }
    while let Some(ended) = copies.join_next().await {
        ended.because("a copy panicked")??;
    }
    let (seconds, after) = (began.elapsed().as_secs_f64(), Usage::of("self")?);
    Ok(json!({"seconds": seconds, "cpu": after.cpu - before.cpu, "peak": after.peak, "writes": writes}))
}

/// What the daemon asks before it copies: what the standby has, what the source has, and its tags.
async fn look(source: &Client, target: &Client, (bucket, standby): (&str, &str), key: &str) -> Result<(), Trouble> {
    let there = target.head_object().bucket(standby).key(key).checksum_mode(ChecksumMode::Enabled).send().await;
    if there.is_ok() {
        return Err(Trouble::new(format!("{key} is in the standby already")));
    }
    let here = source.head_object().bucket(bucket).key(key).checksum_mode(ChecksumMode::Enabled).send().await;
    let version = here.because(format!("could not look at {key}"))?.version_id;
    let tags = source.get_object_tagging().bucket(bucket).key(key).set_version_id(version).send().await;
    tags.map(drop).because(format!("could not read the tags of {key}"))
}

async fn copy(target: &Client, (bucket, standby): (&str, &str), key: &str) -> Result<(), Trouble> {
    let request = target.copy_object().bucket(standby).key(key).copy_source(format!("{bucket}/{key}"));
    request.send().await.map(drop).because(format!("could not copy {key}"))
}

async fn pass(source: &Client, target: &Client, (bucket, standby): (&str, &str), key: &str) -> Result<(), Trouble> {
    let got = source.get_object().bucket(bucket).key(key).checksum_mode(ChecksumMode::Enabled).send().await;
    let got = got.because(format!("could not read {key}"))?;
    let request = target.put_object().bucket(standby).key(key).set_content_type(got.content_type);
    let body = got.body.collect().await.because(format!("could not read {key}"))?.into_bytes();
    request.body(body.into()).send().await.map(drop).because(format!("could not write {key}"))
}
