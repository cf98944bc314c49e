//! What the tests of this folder share: settings, a notebook in memory, and buckets of emulated regions.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use plimsoll_lab::regions::{Region, RegionSpec};
use serde_json::Value;

use super::hands::Hands;
use super::settings::{Carry, S3Settings, Transfer, Versions};
use super::{Bucket, StoreError};
use crate::change::{Key, StoreId};
use crate::seams::SystemClock;
use crate::stores::converge::{Notebook, Same, Settled, Spot, Tempo};

/// Settings of a bucket `shop-x` and its standby `shop-y`.
pub(super) fn settings(transfer: Transfer) -> S3Settings {
    S3Settings {
        bucket: "shop-x".into(),
        standby_bucket: "shop-y".into(),
        prefix: String::new(),
        queue_url: String::new(),
        dead_letter_url: None,
        transfer,
        versions: Versions::Current,
        carry: Carry { tags: true, acl: false, lock: false, annotations: false, storage_class: None, kms_key: None },
        exclude: Vec::new(),
        canary_key: None,
        part_size: 8 << 20,
        memory: 64 << 20,
        attempt_timeout: Duration::from_secs(20),
        transfer_timeout: Duration::from_secs(60),
        promoting: super::promote::settings::Promoting { lifecycle: false, mrap: None, replication_file: None },
        tempo: Tempo {
            poll_wait: Duration::from_secs(1),
            receivers: 1,
            dead_letters: false,
            visibility: Duration::from_secs(30),
            hold_most: Duration::from_secs(3600),
            delivery: Duration::from_secs(120),
            concurrency: 4,
            max_request_life: Duration::from_secs(60),
            walk_every: Duration::from_secs(3600),
            certify_within: Duration::from_secs(86_400),
            list_ranges: 1,
            list_rate: 10,
            delete_limit: 1_000,
            beat_every: None,
            settle: Duration::from_secs(900),
        },
    }
}

/// A notebook in memory.
#[derive(Debug, Default)]
pub(super) struct Pages {
    pub(super) known: Mutex<BTreeMap<Key, Value>>,
    pub(super) work: Mutex<BTreeMap<Key, Value>>,
}

#[async_trait]
impl Notebook for Pages {
    fn known(&self, key: &Key) -> Result<Option<Value>, StoreError> {
        Ok(self.known.lock().unwrap().get(key).cloned())
    }

    fn known_after(&self, after: Option<&Key>, most: usize) -> Result<Vec<(Key, Value)>, StoreError> {
        let known = self.known.lock().unwrap();
        let later = known.iter().filter(|(key, _)| after.is_none_or(|after| *key > after)).take(most);
        Ok(later.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn work(&self, key: &Key) -> Result<Option<Value>, StoreError> {
        Ok(self.work.lock().unwrap().get(key).cloned())
    }

    async fn note_work(&self, key: &Key, work: Value) -> Result<(), StoreError> {
        self.work.lock().unwrap().insert(key.clone(), work);
        Ok(())
    }
}

/// A bucket of emulated regions and what is known of it.
pub(super) struct Scene {
    /// prodX.
    pub(super) x: aws_sdk_s3::Client,
    /// prodY: another region, or the same.
    pub(super) y: aws_sdk_s3::Client,
    pub(super) bucket: Bucket,
    pub(super) pages: Pages,
    _regions: Vec<Region>,
    _folder: tempfile::TempDir,
}

fn client(region: &Region) -> aws_sdk_s3::Client {
    client_of(&region.endpoint().url, &region.endpoint().region)
}

/// A client of an emulated region, as the daemon has it.
pub(super) fn client_of(url: &str, region: &str) -> aws_sdk_s3::Client {
    let endpoint = plimsoll_lab::clients::Endpoint::new(url, region);
    let shared = plimsoll_lab::clients::settings(&endpoint, plimsoll_lab::clients::Patience::OneAttempt);
    let timeouts = aws_sdk_s3::config::timeout::TimeoutConfig::builder()
        .operation_attempt_timeout(Duration::from_secs(20))
        .build();
    let config = aws_sdk_s3::config::Builder::from(&shared).force_path_style(true).timeout_config(timeouts).build();
    aws_sdk_s3::Client::from_conf(config)
}

async fn start(spec: RegionSpec) -> Region {
    Region::start(spec).await.expect("a region")
}

impl Scene {
    /// Both buckets in one region, so that S3 can copy from one to the other, or in two, so that it cannot.
    pub(super) async fn new(settings: S3Settings, together: bool) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path: &Path = folder.path();
        let mut regions = vec![start(RegionSpec::primary(path)).await];
        if !together {
            regions.push(start(RegionSpec::standby(path)).await);
        }
        let x = client(&regions[0]);
        let y = client(regions.last().expect("a region"));
        for (client, bucket) in [(&x, &settings.bucket), (&y, &settings.standby_bucket)] {
            let region = client.config().region().map(ToString::to_string).unwrap_or_default();
            // The first region of all is the one that may not be named.
            let place = (region != "us-east-1").then(|| {
                let place = aws_sdk_s3::types::BucketLocationConstraint::from(region.as_str());
                aws_sdk_s3::types::CreateBucketConfiguration::builder().location_constraint(place).build()
            });
            let request = client.create_bucket().bucket(bucket).set_create_bucket_configuration(place);
            request.send().await.expect("a bucket");
        }
        let bucket = bucket(settings, x.clone(), y.clone());
        Self { x, y, bucket, pages: Pages::default(), _regions: regions, _folder: folder }
    }

    /// One call, whose result is remembered as the spine would.
    pub(super) async fn converge(&self, name: &str, afresh: bool) -> Settled {
        let key = key(name);
        let spot = Spot { key: &key, notebook: &self.pages, afresh };
        let settled = self.bucket.make_same(spot).await;
        if let Settled::Same(same) = &settled {
            self.pages.work.lock().unwrap().remove(&key);
            match &same.known {
                Some(known) => self.pages.known.lock().unwrap().insert(key, known.clone()),
                None => self.pages.known.lock().unwrap().remove(&key),
            };
        }
        settled
    }

    /// As often as it takes.
    pub(super) async fn same(&self, name: &str) -> Same {
        for _ in 0..5 {
            match self.converge(name, false).await {
                Settled::Same(same) => return same,
                Settled::Again => {}
                other => panic!("{other:?}"),
            }
        }
        panic!("it is never the same")
    }

    /// The bytes of an object of the standby.
    pub(super) async fn read(&self, name: &str) -> Option<Vec<u8>> {
        let got = self.y.get_object().bucket("shop-y").key(name).send().await.ok()?;
        Some(got.body.collect().await.expect("a body").to_vec())
    }
}

/// A bucket over such clients.
pub(super) fn bucket(settings: S3Settings, x: aws_sdk_s3::Client, y: aws_sdk_s3::Client) -> Bucket {
    let sqs = aws_sdk_sqs::Config::builder()
        .behavior_version(aws_sdk_sqs::config::BehaviorVersion::latest())
        .region(aws_sdk_sqs::config::Region::new("us-west-2"))
        .endpoint_url("http://127.0.0.1:9")
        .build();
    Bucket {
        id: StoreId::new("uploads").expect("an id"),
        hands: Hands::new(&settings),
        settings,
        source: x.clone(),
        source_bytes: x,
        target: y.clone(),
        target_bytes: y,
        queue: aws_sdk_sqs::Client::from_conf(sqs),
        control: super::doctor::Control::nowhere(),
        clock: SystemClock::shared(),
    }
}

/// A key of that name.
pub(super) fn key(name: &str) -> Key {
    Key(name.as_bytes().to_vec().into())
}
