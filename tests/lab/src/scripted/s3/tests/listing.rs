//! Listings page by page.

use super::*;

#[tokio::test]
async fn a_listing_gives_each_key_once_in_the_order_of_its_bytes() {
    let Pair { x, .. } = pair(Versioning::On);
    x.s3().load("b", "n/", 2500, 10);
    for key in ["a b", "a+b", "a\nb", "é", "z/1", "z/2"] {
        x.s3().put("b", key, NewObject::bytes("x"));
    }
    x.s3().put("b", "gone", NewObject::bytes("x"));
    x.s3().delete("b", "gone");
    let client = s3(&x);
    let mut pages = client.list_objects_v2().bucket("b").encoding_type("url".into()).into_paginator().send();
    let mut keys = Vec::new();
    while let Some(page) = pages.next().await {
        keys.extend(page.unwrap().contents.unwrap_or_default().into_iter().filter_map(|object| object.key));
    }
    assert_eq!(keys.len(), 2506);
    assert_eq!(&keys[..3], ["a%0Ab", "a+b", "a%2Bb"]);
    let page = client.list_objects_v2().bucket("b").prefix("n/").start_after("n/0002497").send().await.unwrap();
    assert_eq!((page.contents().len(), page.is_truncated()), (2, Some(false)));
    let page = client.list_objects_v2().bucket("b").delimiter("/").send().await.unwrap();
    let common: Vec<_> = page.common_prefixes().iter().filter_map(|prefix| prefix.prefix()).collect();
    assert_eq!((page.contents().len(), common), (4, vec!["n/", "z/"]));
}

#[tokio::test]
async fn versions_are_listed_newest_first_and_a_page_ends_anywhere() {
    let Pair { x, .. } = pair(Versioning::On);
    x.s3().quirks("b", |quirks| quirks.page = 2);
    for key in ["a", "b", "b", "b", "c"] {
        x.s3().put("b", key, NewObject::bytes("x"));
    }
    x.s3().delete("b", "b");
    let client = s3(&x);
    let (mut key, mut id, mut seen) = (None, None, Vec::new());
    loop {
        let page = client.list_object_versions().bucket("b").set_key_marker(key).set_version_id_marker(id);
        let page = page.send().await.unwrap();
        let mut rows: Vec<(String, bool, String)> = Vec::new();
        for version in page.versions() {
            rows.push((version.key.clone().unwrap(), version.is_latest.unwrap(), version.version_id.clone().unwrap()));
        }
        for marker in page.delete_markers() {
            rows.push((marker.key.clone().unwrap(), marker.is_latest.unwrap(), marker.version_id.clone().unwrap()));
        }
        seen.extend(rows);
        (key, id) = (page.next_key_marker, page.next_version_id_marker);
        if page.is_truncated != Some(true) {
            break;
        }
    }
    assert_eq!(seen.len(), 6);
    assert_eq!(seen.iter().filter(|(_, latest, _)| *latest).count(), 3);
    let ids: std::collections::BTreeSet<_> = seen.iter().map(|(_, _, id)| id).collect();
    assert_eq!(ids.len(), 6, "each version once");
}
