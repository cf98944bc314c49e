//! Objects through the SDK.

use super::*;
use aws_sdk_s3::primitives::ByteStream;

#[tokio::test]
async fn an_object_goes_in_and_out_and_is_told() {
    let Pair { x, y } = pair(Versioning::Off);
    let (client, there) = (s3(&x), s3(&y));
    let key = "a b+c%/é\nü";
    let put = client.put_object().bucket("b").key(key).body(ByteStream::from_static(b"hello")).metadata("m", "1");
    let put = put.tagging("t=1&u=a%20b").send().await.unwrap();
    let got = client.get_object().bucket("b").key(key).send().await.unwrap();
    assert_eq!(got.e_tag(), put.e_tag());
    assert_eq!(got.metadata().unwrap()["m"], "1");
    assert_eq!(got.tag_count(), Some(2));
    assert_eq!(&got.body.collect().await.unwrap().into_bytes()[..], b"hello");
    let page = client.list_objects_v2().bucket("b").send().await.unwrap();
    assert_eq!(page.contents()[0].key(), Some(key));
    let source = format!("b/{}", super::super::form_encoded(key).replace('+', "%20"));
    there.copy_object().bucket("copy").key(key).copy_source(source).send().await.unwrap();
    assert!(x.s3().compare("b", &y, "copy", super::super::Compare::default()).equal());
    let queue = sqs(&y).receive_message().queue_url(y.sqs().url("q")).send().await.unwrap();
    assert!(queue.messages()[0].body().unwrap().contains("a+b%2Bc%25/%C3%A9%0A%C3%BC"));
    client.delete_object().bucket("b").key(key).send().await.unwrap();
    assert!(client.head_object().bucket("b").key(key).send().await.unwrap_err().into_service_error().is_not_found());
    assert_eq!(x.s3().history("b").len(), 2);
    assert_eq!((x.calls("PutObject"), x.calls("DeleteObject")), (1, 1));
}
