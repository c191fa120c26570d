//! The media service takes what WhatsApp takes and refuses what WhatsApp refuses.

mod common;

use common::files::{download, media_conn, ranged, send, token, upload};
use common::{Device, post};
use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _};
use http_types::{Body, Method};
use serde_json::{Value, json};
use wildcat_simulator::{Options, Simulator};

const ALICE: &str = "15550000001";

async fn simulator() -> (Simulator, String) {
    let sim = Simulator::start_with(Options {
        seed: Some(1),
        ..Options::default()
    })
    .expect("a simulator");
    let mut alice = Device::new(1);
    alice.pair(&sim, ALICE).await;
    let mut raw = alice.connect(&sim, ALICE).await;
    let (auth, host) = media_conn(&mut raw).await;
    assert_eq!(format!("https://{host}"), sim.https_url());
    (sim, auth)
}

#[test]
fn uploads_are_downloaded_completely_and_by_ranges() {
    smol::block_on(async {
        let (sim, auth) = simulator().await;
        let bytes: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
        let (status, path) = upload(&sim, "image", &auth, &bytes).await;
        assert_eq!(status, 200);
        assert_eq!(download(&sim, &path).await, (200, bytes.clone()));
        let appended = format!("{path}?auth={auth}&token={}", token(&bytes));
        assert_eq!(download(&sim, &appended).await, (200, bytes.clone()));

        let get = Method::Get;
        for (range, part, content_range) in [
            ("bytes=0-9", 0..10, "bytes 0-9/300000"),
            (
                "bytes=131072-196607",
                131_072..196_608,
                "bytes 131072-196607/300000",
            ),
            (
                "bytes=299990-400000",
                299_990..300_000,
                "bytes 299990-299999/300000",
            ),
            ("bytes=-5", 299_995..300_000, "bytes 299995-299999/300000"),
        ] {
            let mut answer = ranged(&sim, get, &path, Body::empty(), Some(range)).await;
            assert_eq!(u16::from(answer.status()), 206);
            assert_eq!(answer["content-range"].as_str(), content_range);
            let got = answer.body_bytes().await.expect("bytes");
            assert_eq!(got, bytes[part], "{range}");
        }
        let beyond = Some("bytes=300000-");
        let answer = ranged(&sim, get, &path, Body::empty(), beyond).await;
        assert_eq!(u16::from(answer.status()), 416);
        assert_eq!(answer["content-range"].as_str(), "bytes */300000");
    });
}

#[test]
fn invalid_uploads_are_refused() {
    smol::block_on(async {
        let (sim, auth) = simulator().await;
        let (good, other) = (token(b"cipher"), token(b"other"));
        let padded = format!("{good}%3D");
        for (target, expected) in [
            (format!("/mms/image/{good}?token={good}"), 401),
            (format!("/mms/image/{good}?auth=stolen&token={good}"), 403),
            (format!("/mms/image/{other}?auth={auth}&token={other}"), 400),
            (format!("/mms/image/{good}?auth={auth}&token={other}"), 400),
            (format!("/mms/image/{good}?auth={auth}"), 400),
            (format!("/mms/image/abc?auth={auth}&token=abc"), 400),
            (format!("/mms/selfies/{good}?auth={auth}&token={good}"), 404),
            (
                format!("/mms/image/{good}?auth={auth}&token={good}&file_offset=3"),
                409,
            ),
            (format!("/mms/image/{good}?auth={auth}&token={good}"), 200),
            (
                format!("/mms/audio/{padded}?auth={auth}&token={padded}"),
                200,
            ),
        ] {
            let answer = send(&sim, Method::Post, &target, Body::from("cipher")).await;
            assert_eq!(u16::from(answer.status()), expected, "{target}");
        }
        let target = format!("/mms/image/{good}?auth={auth}&token={good}");
        let mut stream = common::tls(&sim).await;
        let head = format!(
            "POST {target} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
            101 * 1024 * 1024
        );
        stream.write_all(head.as_bytes()).await.expect("written");
        let mut answer = [0; 12];
        let read = futures_lite::AsyncReadExt::read_exact(&mut stream, &mut answer);
        common::soon("413", read).await.expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 413");
    });
}

#[test]
fn a_download_needs_a_path_that_the_service_signed_and_that_is_still_valid() {
    smol::block_on(async {
        let (sim, auth) = simulator().await;
        let (_, path) = upload(&sim, "document", &auth, b"cipher").await;
        let bare = path.split('?').next().expect("a path");
        assert_eq!(download(&sim, bare).await.0, 403);
        let wrong = format!("{path}?token={}", token(b"other"));
        assert_eq!(download(&sim, &wrong).await.0, 403);
        let unknown = path.replace("_n.enc", "1_n.enc");
        assert_eq!(download(&sim, &unknown).await.0, 404);
        let other = json!({"kind": "expire-media", "number": "15550000009"});
        assert_eq!(post(&sim, "faults", other).await["hit"], 0);
        assert_eq!(download(&sim, &path).await.0, 200);
        let expire = json!({"kind": "expire-media", "number": ALICE});
        assert_eq!(post(&sim, "faults", expire).await["hit"], 1);
        assert_eq!(download(&sim, &path).await.0, 410);
        for code in [403, 404] {
            let (_, path) = upload(&sim, "document", &auth, b"another").await;
            post(
                &sim,
                "faults",
                json!({"kind": "expire-media", "code": code}),
            )
            .await;
            assert_eq!(download(&sim, &path).await.0, code);
        }
        // Uploaded again it has another path.
        let (_, again) = upload(&sim, "document", &auth, b"cipher").await;
        assert_ne!(again, path);
        assert_eq!(download(&sim, &again).await, (200, b"cipher".to_vec()));
    });
}

#[test]
fn transfers_are_refused_as_often_as_asked() {
    smol::block_on(async {
        let (sim, auth) = simulator().await;
        let fault = json!({"kind": "refuse-uploads", "code": 503, "count": 1, "number": ALICE});
        post(&sim, "faults", fault).await;
        let large = vec![7; 3 * 1024 * 1024];
        assert_eq!(upload(&sim, "video", &auth, &large).await.0, 503);
        let (status, path) = upload(&sim, "video", &auth, &large).await;
        assert_eq!(status, 200);
        let fault = json!({"kind": "refuse-downloads", "code": 404, "count": 2});
        post(&sim, "faults", fault).await;
        for expected in [404, 404, 200] {
            assert_eq!(download(&sim, &path).await.0, expected);
        }
        for code in [json!(200), json!(999), Value::Null] {
            let fault = json!({"kind": "refuse-downloads", "code": code}).to_string();
            let (status, _) = common::admin(&sim, Method::Post, "faults", &fault).await;
            assert_eq!(status, 400, "{code}");
        }
    });
}

#[test]
fn transfers_break_and_files_are_spoiled_on_purpose() {
    smol::block_on(async {
        let (sim, auth) = simulator().await;
        let bytes: Vec<u8> = (0..200_000u32).map(|n| (n % 241) as u8).collect();
        let name = token(&bytes);
        let target = format!("/mms/image/{name}?auth={auth}&token={name}");
        post(&sim, "faults", json!({"kind": "break-uploads", "count": 1})).await;
        let url = format!("{}{target}", sim.https_url());
        let mut request = http_types::Request::new(Method::Post, url.as_str());
        request.set_body(Body::from(bytes.as_slice()));
        let work = async_h1::connect(common::tls(&sim).await, request);
        common::soon("the end", work)
            .await
            .expect_err("the connection broke");
        let asked = format!("{target}&resume=1");
        let mut answer = send(&sim, Method::Post, &asked, Body::empty()).await;
        let body = answer.body_string().await.expect("text");
        assert_eq!(body, json!({"resume": "100000"}).to_string());

        let (_, path) = upload(&sim, "image", &auth, &bytes).await;
        let fault = json!({"kind": "break-downloads", "count": 1});
        post(&sim, "faults", fault).await;
        let mut answer = send(&sim, Method::Get, &path, Body::empty()).await;
        assert_eq!(answer.len(), Some(bytes.len()), "the head promises it all");
        let broken = answer.body_bytes().await;
        assert!(broken.is_err() || broken.is_ok_and(|got| got.len() <= 100_000));

        let fault = json!({"kind": "corrupt-downloads", "count": 1});
        post(&sim, "faults", fault).await;
        let (status, spoiled) = download(&sim, &path).await;
        let wrong: Vec<usize> = (0..bytes.len())
            .filter(|at| spoiled[*at] != bytes[*at])
            .collect();
        assert_eq!((status, wrong), (200, vec![0]));
        assert_eq!(download(&sim, &path).await, (200, bytes));
    });
}

#[test]
fn an_upload_that_broke_off_is_continued() {
    smol::block_on(async {
        let (sim, auth) = simulator().await;
        let bytes: Vec<u8> = (0..200_000u32).map(|n| (n % 253) as u8).collect();
        let name = token(&bytes);
        let target = format!("/mms/video/{name}?auth={auth}&token={name}");
        let asked = format!("{target}&resume=1");
        let resume = async || {
            let mut answer = send(&sim, Method::Post, &asked, Body::empty()).await;
            let body = answer.body_string().await.expect("text");
            serde_json::from_str::<Value>(&body).expect("JSON")
        };
        assert_eq!(resume().await["resume"], "0");

        let mut stream = common::tls(&sim).await;
        let head = format!(
            "POST {target} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
            bytes.len()
        );
        stream.write_all(head.as_bytes()).await.expect("written");
        stream.write_all(&bytes[..150_000]).await.expect("written");
        stream.close().await.expect("closed");
        // The answer, or the end: the service has seen that no more will come.
        let mut rest = Vec::new();
        let end = futures_lite::AsyncReadExt::read_to_end(&mut stream, &mut rest);
        let _ = common::soon("the end", end).await;
        assert_eq!(resume().await["resume"], "150000");

        let continued = format!("{target}&file_offset=150000");
        let body = Body::from(&bytes[150_000..]);
        let answer = send(&sim, Method::Post, &continued, body).await;
        assert_eq!(u16::from(answer.status()), 200);
        let complete = resume().await;
        assert_eq!(complete["resume"], "complete");
        let path = complete["direct_path"].as_str().expect("a path");
        assert_eq!(download(&sim, path).await, (200, bytes));
    });
}

#[test]
fn downloads_are_longer_and_slower_than_announced_where_that_is_wanted() {
    smol::block_on(async {
        let (sim, auth) = simulator().await;
        let bytes = vec![7; 1_000];
        let (_, path) = upload(&sim, "image", &auth, &bytes).await;
        let once = |mut fault: Value| {
            fault["count"] = json!(1);
            post(&sim, "faults", fault)
        };
        once(json!({"kind": "overlong-downloads", "bytes": 5})).await;
        let (status, got) = download(&sim, &path).await;
        assert_eq!((status, got.len()), (200, 1_005));
        assert_eq!(got[..1_000], bytes);

        once(json!({"kind": "redirect-downloads", "port": 9})).await;
        let answer = send(&sim, Method::Get, &path, Body::empty()).await;
        assert_eq!(u16::from(answer.status()), 302);
        assert_eq!(answer["location"].as_str(), "https://127.0.0.1:9/elsewhere");

        for fault in [
            json!({"kind": "endless-downloads"}),
            json!({"kind": "drip-downloads", "ms": 1}),
        ] {
            let endless = fault["kind"] == "endless-downloads";
            once(fault).await;
            let mut answer = send(&sim, Method::Get, &path, Body::empty()).await;
            assert_eq!(answer.len().is_none(), endless, "chunked");
            let wanted = if endless { 2_000 } else { 3 };
            let mut got = vec![0; wanted];
            answer.read_exact(&mut got).await.expect("bytes");
            assert_eq!(got[..3], bytes[..3]);
        }
        for bad in [
            "overlong-downloads",
            "redirect-downloads",
            "forge-retry-path",
        ] {
            let fault = json!({"kind": bad}).to_string();
            let (status, _) = common::admin(&sim, Method::Post, "faults", &fault).await;
            assert_eq!(status, 400, "{bad}");
        }
        assert_eq!(download(&sim, &path).await, (200, bytes));
    });
}
