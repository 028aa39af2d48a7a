//! A body of any size costs the same memory.

use bytes::Bytes;

use crate::harness::Server;
use crate::media::{Track, payload};

const LIMIT_KIB: u64 = 64 * 1024;
const PIECE: usize = 1 << 20;

/// The most memory the server has ever had, in KiB.
fn peak(server: &Server) -> u64 {
    let pid = server.pid().as_raw_nonzero();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the server runs");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .expect("a high-water mark");
    line.split_whitespace()
        .nth(1)
        .and_then(|value| value.parse().ok())
        .expect("a number")
}

#[track_caller]
fn check(server: &Server) {
    let peak = peak(server);
    assert!(peak < LIMIT_KIB, "{} MiB at the peak", peak / 1024);
}

/// Reads the object's length, and its two ends, then deletes it.
async fn check_object(server: &Server, target: &str, pieces: u64, piece: &[u8]) {
    let client = server.anonymous();
    let head = client.head(target).await.expect(200);
    assert_eq!(
        head.header("content-length"),
        (pieces * piece.len() as u64).to_string()
    );
    let last = client
        .get(target)
        .header("Range", "bytes=-1048576")
        .await
        .expect(206);
    last.is(piece);
    client.delete(target).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d12_two_gigabytes_by_h1() {
    let server = Server::start().await;
    let id = server.stream(&server.anonymous(), "cmaf-ingest").await;
    let target = format!("/streams/{id}/large.mp4");
    let piece = payload(PIECE, 1);
    let mut raw = server.h1(None).await;
    raw.head(
        "PUT",
        &target,
        &[("Content-Length", &(2048 * PIECE).to_string())],
    )
    .await;
    for _ in 0..2048 {
        raw.send(&piece).await;
    }
    raw.answer("PUT").await.expect(202);
    check(&server);
    check_object(&server, &target, 2048, &piece).await;
    check(&server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d12_two_gigabytes_by_h2() {
    let server = Server::start().await;
    let id = server.stream(&server.anonymous(), "cmaf-ingest").await;
    let target = format!("/streams/{id}/large.mp4");
    let piece = Bytes::from(payload(PIECE, 1));
    let mut h2 = server.h2(None).await;
    let length = (2048 * PIECE).to_string();
    let mut call = h2
        .begin("PUT", &target, &[("content-length", &length)])
        .await;
    for _ in 0..2048 {
        call.paced(piece.clone())
            .await
            .expect("the server takes it");
    }
    call.finish();
    call.answer().await.expect(202);
    check(&server);
    check_object(&server, &target, 2048, &piece).await;
    check(&server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d12_an_endless_live_upload() {
    let server = Server::start().await;
    let client = server.anonymous();
    let id = server.stream(&client, "cmaf-ingest").await;
    let track = Track::video(320, 180);
    let target = format!("/streams/{id}/Streams(live.cmfv)");
    let mut raw = server.h1(None).await;
    raw.begin("PUT", &target).await;
    raw.chunk(&track.header()).await;
    let data = payload(PIECE, 1);
    for n in 0..256u32 {
        raw.chunk(&track.fragment(n + 1, u64::from(n) * 12_800, 12_800, 1, &data))
            .await;
    }
    raw.last_chunk().await;
    raw.answer("PUT").await.expect(202);
    check(&server);
    client.delete(&target).await.expect(200);
}
