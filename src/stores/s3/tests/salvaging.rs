//! Salvage of a bucket, on an emulated region.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::Value;

use super::*;
use crate::change::{Key, SourceTime};
use crate::stores::converge::Notebook;
use crate::stores::s3::testing::{Pages, key};
use crate::stores::salvage::{Digest, Found, Origin, Rest, Salvage, Settled as Brought, Sink, Wish, digest_of};
use crate::stores::{StoreError, StoreState};
use crate::watermark::course::MarkRecord;

#[derive(Default)]
struct Kept(Vec<Found>);

#[async_trait]
impl Sink for Kept {
    async fn found(&mut self, found: Found) -> Result<(), StoreError> {
        self.0.push(found);
        Ok(())
    }

    async fn alive(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// What was known at the fence, and what was dirty then.
struct Then<'a>(&'a Pages, BTreeMap<Key, MarkRecord>);

#[async_trait]
impl Notebook for Then<'_> {
    fn known(&self, key: &Key) -> Result<Option<Value>, StoreError> {
        self.0.known(key)
    }

    fn known_after(&self, after: Option<&Key>, most: usize) -> Result<Vec<(Key, Value)>, StoreError> {
        self.0.known_after(after, most)
    }

    fn work(&self, key: &Key) -> Result<Option<Value>, StoreError> {
        self.0.work(key)
    }

    async fn note_work(&self, _: &Key, _: Value) -> Result<(), StoreError> {
        panic!("nothing is noted behind the fence")
    }
}

impl Rest for Then<'_> {
    fn mark(&self, key: &Key) -> Result<Option<MarkRecord>, StoreError> {
        Ok(self.1.get(key).cloned())
    }

    fn marks_after(&self, after: Option<&Key>, most: usize) -> Result<Vec<(Key, MarkRecord)>, StoreError> {
        let behind = self.1.iter().filter(|(key, _)| after.is_none_or(|after| *key > after));
        Ok(behind.take(most).map(|(key, mark)| (key.clone(), mark.clone())).collect())
    }
}

fn late(since: i64) -> MarkRecord {
    MarkRecord {
        since: SourceTime(since),
        found_at: SourceTime(since),
        generation: 1,
        walked: false,
        what: None,
        held: false,
        refused: None,
        late: true,
        order: None,
    }
}

async fn standby(scene: &Scene, name: &str) -> Option<crate::stores::salvage::Image> {
    scene.bucket.standby(&[Value::from(name)]).await.expect("a look").remove(0)
}

fn wish(found: &Found, based_on: Option<&crate::stores::salvage::Image>) -> Wish {
    let read = |json: &str| serde_json::from_str(json).expect("JSON");
    Wish {
        key: read(&found.name),
        image: found.image.as_ref().map(|image| read(&image.json)),
        based_on: based_on.map(|image| read(&image.json)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fb2_what_was_lost_is_found_and_brought_over_where_nobody_wrote() {
    let scene = Scene::new(settings(Transfer::Stream), true).await;
    for name in ["kept", "written in y", "over\nwritten", "removed", "fought", "late"] {
        put(&scene, name, b"one").await;
        scene.same(name).await;
    }
    // After the last copy.
    put(&scene, "over\nwritten", b"two").await;
    put(&scene, "fought", b"two of x").await;
    put(&scene, "new", b"new").await;
    for name in ["removed", "late"] {
        scene.x.delete_object().bucket("shop-x").key(name).send().await.expect("a removal");
    }
    // After the promotion.
    for (name, body) in [("written in y", "y"), ("fought", "two of y"), ("y's own", "y")] {
        let put = scene.y.put_object().bucket("shop-y").key(name).body(ByteStream::from(body.as_bytes().to_vec()));
        put.send().await.expect("a put");
    }
    let rest = Then(&scene.pages, BTreeMap::from([(key("late"), late(7_000)), (key("kept"), late(8_000))]));
    let mut kept = Kept::default();
    let state = StoreState::default();
    let now = scene.bucket.clock.now();
    let missing = scene.bucket.tail(&state, now, &rest, &mut kept).await.expect("a listing");
    assert_eq!(missing, Vec::<String>::new());
    let found: BTreeMap<String, Found> =
        kept.0.into_iter().map(|f| (serde_json::from_str(&f.name).expect("a key"), f)).collect();
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["fought", "late", "new", "over\nwritten", "removed"],
        "kept is the same, whatever was heard of it"
    );
    assert!(found.values().all(|found| found.origin == Origin::Stream));
    assert_eq!(found["late"].at, Some(SourceTime(7_000)), "the event says when");
    assert!(found["removed"].at.is_none() && found["removed"].image.is_none());
    assert!(found["new"].at.is_some());
    assert_eq!(found["new"].before, Some(Digest::ABSENT));

    // What stands in prodY is what the index knew, but where somebody wrote.
    for (name, untouched) in [("over\nwritten", true), ("removed", true), ("late", true), ("fought", false)] {
        let held = standby(&scene, name).await;
        assert_eq!(found[name].before == Some(digest_of(held.as_ref())), untouched, "{name}");
    }
    for name in ["new", "over\nwritten", "removed", "late"] {
        let held = standby(&scene, name).await;
        let wish = wish(&found[name], held.as_ref());
        assert_eq!(scene.bucket.settle(&wish).await, Brought::Applied, "{name}");
        assert_eq!(scene.bucket.settle(&wish).await, Brought::Already, "{name}");
    }
    assert_eq!(scene.read("over\nwritten").await.as_deref(), Some(b"two".as_slice()));
    assert_eq!(scene.read("new").await.as_deref(), Some(b"new".as_slice()));
    assert_eq!(scene.read("removed").await, None);

    // Over nothing that the wish does not know, and of nothing that is not there any more.
    assert_eq!(scene.bucket.settle(&wish(&found["fought"], None)).await, Brought::Changed);
    assert_eq!(scene.read("fought").await.as_deref(), Some(b"two of y".as_slice()));
    put(&scene, "fought", b"three of x").await;
    let held = standby(&scene, "fought").await;
    let gone = scene.bucket.settle(&wish(&found["fought"], held.as_ref())).await;
    assert!(matches!(gone, Brought::Refused(_)), "{gone:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fb2_a_comparison_tells_what_differs_and_not_whose_it_is() {
    let scene = Scene::new(settings(Transfer::Stream), true).await;
    for name in ["same", "other", "missing"] {
        put(&scene, name, b"one").await;
    }
    for (name, body) in [("same", "one"), ("other", "two"), ("extra", "one")] {
        let put = scene.y.put_object().bucket("shop-y").key(name).body(ByteStream::from(body.as_bytes().to_vec()));
        put.send().await.expect("a put");
    }
    let mut kept = Kept::default();
    scene.bucket.compare(4 << 20, &mut kept).await.expect("a comparison");
    let told: Vec<(&str, bool)> = kept.0.iter().map(|found| (found.name.as_str(), found.image.is_some())).collect();
    assert_eq!(told, [("\"extra\"", false), ("\"missing\"", true), ("\"other\"", true)]);
    assert!(kept.0.iter().all(|found| found.origin == Origin::Comparison && found.before.is_none()));
}
