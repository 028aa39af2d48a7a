//! Interface-1: a track is pushed by one endless request or by many short ones, and is readable
//! while it grows.

use std::path::Path;

use serde_json::Value;

use crate::harness::{Answer, Client, H1, Http, Server, eventually, find};
use crate::media::{Track, emsg, mfra, payload, prft, styp};

pub(crate) async fn stage(arguments: &[&str]) -> (Server, Client, u64) {
    let server = Server::with().args(arguments.iter().copied()).start().await;
    let client = server.anonymous();
    let id = server.stream(&client, "cmaf-ingest").await;
    (server, client, id)
}

pub(crate) fn video() -> Track {
    Track::video(320, 180)
}

/// A header and seconds `0..count` of it, in one piece.
pub(crate) fn whole(track: &Track, count: u64, seed: u8) -> Vec<u8> {
    let seconds: Vec<_> = (0..count).map(|n| track.second(n, seed)).collect();
    [track.header(), seconds.concat()].concat()
}

async fn post(raw: &mut H1, target: &str, body: &[u8]) -> Answer {
    raw.request("POST", target, &[], body).await.ok()
}

/// Waits until a GET of the path, by a client that takes what is there, holds these bytes.
pub(crate) async fn held(client: &Client, target: &str, expected: &[u8]) {
    eventually(
        &format!("{target} holds {} bytes", expected.len()),
        async || {
            let answer = client.get(target).header("Range", "bytes=0-").await;
            (answer.status == 206 && answer.body == expected).then_some(())
        },
    )
    .await;
}

#[tokio::test]
async fn twenty_one_posts_make_one_track() {
    let (server, client, id) = stage(&[]).await;
    let target = format!("/streams/{id}/Streams(video.cmfv)");
    let track = video();
    let mut expected = track.header();
    let mut raw = server.h1(None).await;
    post(&mut raw, &target, &track.header()).await;
    for n in 0..20 {
        if n == 10 {
            // The connection breaks; the source connects again and sends its header once more.
            raw.cut();
            raw = server.h1(None).await;
            post(&mut raw, &target, &track.header()).await;
        }
        let segment = [
            styp(&["cmfs", "msdh"]),
            prft(n << 32, n * 12_800),
            track.second(n, 1),
        ]
        .concat();
        post(&mut raw, &target, &segment).await;
        expected.extend_from_slice(&segment);
    }
    client.get(&target).await.expect(200).is(&expected);
    let records = client.uploads_to(id, "Streams(video.cmfv)").await;
    assert_eq!(records.len(), 22, "each request has its record");
    assert!(
        records[1..].iter().all(|r| r["status"] == "accepted"),
        "{records:?}"
    );
    let listed = client.stream(id).await["valid_uploads"].to_string();
    assert!(listed.contains("Streams(video.cmfv)"), "{listed}");
}

#[tokio::test]
async fn every_way_of_sending_appends() {
    let (server, client, id) = stage(&[]).await;
    let track = video();
    for name in [
        "a.cmfv",
        "b.cmfa",
        "c.cmft",
        "d.cmfm",
        "Streams(e.cmfv)",
        "Switching(s)/Streams(f.cmfv)",
    ] {
        let target = format!("/streams/{id}/{name}");
        client.put(&target, whole(&track, 1, 1)).await.expect(202);
        let mut raw = server.h1(None).await;
        raw.begin("POST", &target).await;
        for piece in track.second(1, 1).chunks(13) {
            raw.chunk(piece).await;
        }
        raw.last_chunk().await;
        raw.answer("POST").await.ok();
        let mut h2 = server.h2(None).await;
        let mut call = h2.begin("PUT", &target, &[]).await;
        call.data(track.header());
        call.data(track.second(2, 1));
        call.finish();
        call.answer().await.ok();
        client
            .post(&target)
            .body([track.second(3, 1), track.second(4, 1)].concat())
            .await
            .ok();
        client
            .get(&target)
            .await
            .expect(200)
            .is(&whole(&track, 5, 1));
    }
}

#[tokio::test]
async fn what_stands_before_a_fragment_belongs_to_it() {
    let (_server, client, id) = stage(&[]).await;
    let target = format!("/streams/{id}/a.cmfv");
    let track = video();
    let parts = [
        [styp(&["cmfs"]), track.second(0, 1)].concat(),
        [prft(1 << 32, 12_800), track.second(1, 1)].concat(),
        [
            emsg(12_800, 25_600, 1),
            emsg(12_800, 25_600, 2),
            track.second(2, 1),
        ]
        .concat(),
    ];
    client.put(&target, track.header()).await.expect(202);
    for part in &parts {
        client.post(&target).body(part.clone()).await.ok();
    }
    client
        .get(&target)
        .await
        .expect(200)
        .is(&[track.header(), parts.concat()].concat());
}

#[tokio::test]
async fn other_names_are_replaced() {
    let (_server, client, id) = stage(&[]).await;
    let track = video();
    for name in ["a.mp4", "seg.m4s", "video.init"] {
        let target = format!("/streams/{id}/{name}");
        client.put(&target, whole(&track, 1, 1)).await.expect(202);
        client.put(&target, track.second(1, 1)).await.expect(202);
        client
            .get(&target)
            .await
            .expect(200)
            .is(&track.second(1, 1));
    }
}

#[tokio::test]
async fn overlapping_requests_are_appended_as_they_arrive() {
    let (server, client, id) = stage(&[]).await;
    let target = format!("/streams/{id}/Streams(video.cmfv)");
    let track = video();
    let (one, two, three) = (track.second(0, 1), track.second(1, 1), track.second(2, 1));
    client.put(&target, track.header()).await.expect(202);
    let (mut first, mut second) = (server.h1(None).await, server.h1(None).await);
    first.begin("POST", &target).await;
    first.chunk(&one[..one.len() - 1]).await;
    second.begin("POST", &target).await;
    second.chunk(&two).await;
    second.last_chunk().await;
    second.answer("POST").await.ok();
    held(&client, &target, &[&track.header()[..], &two].concat()).await;
    first.chunk(&one[one.len() - 1..]).await;
    first.chunk(&three).await;
    first.last_chunk().await;
    first.answer("POST").await.ok();
    client
        .get(&target)
        .await
        .expect(200)
        .is(&[track.header(), two, one, three].concat());
}

#[tokio::test]
async fn a_repeated_fragment_is_dropped() {
    let (_server, client, id) = stage(&[]).await;
    let target = format!("/streams/{id}/Streams(video.cmfv)");
    let track = video();
    client.put(&target, whole(&track, 3, 1)).await.expect(202);
    client.post(&target).body(track.second(2, 1)).await.ok();
    client
        .post(&target)
        .body([track.second(1, 1), track.second(2, 1), track.second(3, 1)].concat())
        .await
        .ok();
    client.put(&target, whole(&track, 5, 1)).await.ok();
    // The same media under another sequence number and behind another styp: still held.
    let renumbered = track.fragment(99, 4 * 12_800, 12_800, 1, &payload(900, 1));
    client
        .post(&target)
        .body([styp(&["cmfs"]), renumbered].concat())
        .await
        .ok();
    client
        .get(&target)
        .await
        .expect(200)
        .is(&whole(&track, 5, 1));
    let records = client.uploads_to(id, "Streams(video.cmfv)").await;
    assert_eq!(records.len(), 5);
    assert!(
        records
            .iter()
            .any(|record| record.to_string().contains("retransm")),
        "the records tell of it: {records:?}"
    );
}

#[tokio::test]
async fn a_restarted_camera_begins_the_next_part() {
    let (server, client, id) = stage(&[]).await;
    let target = format!("/streams/{id}/Streams(video.cmfv)");
    let track = video();
    let before = whole(&track, 4, 1);
    client.put(&target, before.clone()).await.expect(202);
    // Its clock begins at 0 again: the same decode times, other bytes.
    client.put(&target, track.header()).await.ok();
    client.post(&target).body(track.second(0, 2)).await.ok();
    client.post(&target).body(track.second(1, 2)).await.ok();
    client
        .get(&target)
        .await
        .expect(200)
        .is(&whole(&track, 2, 2));
    assert!(
        lies_somewhere(&server.dir, &before),
        "the earlier part stays on disk"
    );
    client.post(&target).body(track.second(2, 2)).await.ok();
    client
        .get(&target)
        .await
        .expect(200)
        .is(&whole(&track, 3, 2));
}

#[tokio::test]
async fn a_fragment_that_overlaps_begins_the_next_part() {
    let (_server, client, id) = stage(&[]).await;
    let target = format!("/streams/{id}/a.cmfv");
    let track = video();
    client.put(&target, whole(&track, 4, 1)).await.expect(202);
    // Half a second into what is held.
    let late = track.fragment(9, 12_800 * 3 + 6_400, 12_800, 1, &payload(500, 7));
    client.post(&target).body(late.clone()).await.ok();
    client
        .get(&target)
        .await
        .expect(200)
        .is(&[track.header(), late].concat());
}

#[tokio::test]
async fn another_header_begins_the_next_part() {
    let (server, client, id) = stage(&[]).await;
    let target = format!("/streams/{id}/a.cmfv");
    let (old, new) = (video(), Track::video(640, 360));
    client.put(&target, whole(&old, 3, 1)).await.expect(202);
    client.put(&target, whole(&new, 2, 2)).await.ok();
    client.get(&target).await.expect(200).is(&whole(&new, 2, 2));
    assert!(
        lies_somewhere(&server.dir, &whole(&old, 3, 1)),
        "the earlier part stays on disk"
    );
    let statuses: Vec<Value> = client
        .uploads_to(id, "a.cmfv")
        .await
        .iter()
        .map(|r| r["status"].clone())
        .collect();
    assert_eq!(statuses.len(), 2, "and in the records");
    let german = old.clone().language("deu");
    client.put(&target, german.header()).await.ok();
    client.post(&target).body(german.second(0, 3)).await.ok();
    client
        .get(&target)
        .await
        .expect(200)
        .is(&whole(&german, 1, 3));
}

#[tokio::test]
async fn a_header_alone_is_replaced_by_another() {
    let (_server, client, id) = stage(&[]).await;
    for name in ["a.cmfv", "Streams(a.cmfv)"] {
        let target = format!("/streams/{id}/{name}");
        let (old, new) = (video(), Track::video(640, 360));
        client.put(&target, old.header()).await.expect(202);
        client.get(&target).await.expect(200).is(&old.header());
        client.put(&target, new.header()).await.expect(202);
        client.get(&target).await.expect(200).is(&new.header());
        client.post(&target).body(new.second(0, 1)).await.ok();
        client.get(&target).await.expect(200).is(&whole(&new, 1, 1));
    }
}

fn lies_somewhere(dir: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(dir).expect("a directory").any(|entry| {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            lies_somewhere(&path, bytes)
        } else {
            std::fs::read(&path)
                .is_ok_and(|held| held.len() < 10_000_000 && find(&held, bytes).is_some())
        }
    })
}

#[tokio::test]
async fn media_before_any_header_is_412() {
    let (server, client, id) = stage(&[]).await;
    let target = format!("/streams/{id}/Streams(video.cmfv)");
    let track = video();
    for body in [
        track.second(0, 1),
        [styp(&["cmfs"]), track.second(0, 1)].concat(),
    ] {
        client.post(&target).body(body.clone()).await.problem(412);
        let mut raw = server.h1(None).await;
        raw.begin("POST", &target).await;
        raw.chunk(&body).await;
        raw.last_chunk().await;
        raw.answer("POST").await.problem(412);
    }
    client.get(&target).await.problem(404);
    // The source sends its header and goes on.
    client.put(&target, track.header()).await.expect(202);
    client.post(&target).body(track.second(0, 1)).await.ok();
    client
        .get(&target)
        .await
        .expect(200)
        .is(&whole(&track, 1, 1));
}

#[tokio::test]
async fn an_endless_push_of_media_before_its_header_is_told_at_once() {
    let (server, _, id) = stage(&[]).await;
    let mut raw = server.h1(None).await;
    raw.begin("POST", &format!("/streams/{id}/Streams(video.cmfv)"))
        .await;
    raw.chunk(&video().second(0, 1)).await;
    raw.answer("POST").await.problem(412);
}

#[tokio::test]
async fn an_empty_mfra_ends_nothing_and_is_not_served() {
    let (_server, client, id) = stage(&[]).await;
    let target = format!("/streams/{id}/Streams(video.cmfv)");
    let track = video();
    client.put(&target, whole(&track, 2, 1)).await.expect(202);
    client.post(&target).body(mfra()).await.ok();
    client
        .post(&target)
        .body([track.second(2, 1), mfra()].concat())
        .await
        .ok();
    client
        .get(&target)
        .await
        .expect(200)
        .is(&whole(&track, 3, 1));
}

#[tokio::test]
async fn a_track_larger_than_an_object_goes_on_in_its_next_part() {
    let (_server, client, id) = stage(&["--max-object-size", "10KiB"]).await;
    let target = format!("/streams/{id}/Streams(video.cmfv)");
    let track = video();
    client.put(&target, track.header()).await.expect(202);
    for n in 0..20 {
        client.post(&target).body(track.second(n, 1)).await.ok();
    }
    let body = client.get(&target).await.expect(200).body;
    assert!(body.starts_with(&track.header()), "header first");
    assert!(
        body.ends_with(&track.second(19, 1)),
        "the newest fragment last"
    );
    assert!(body.len() <= 10 * 1024, "{} bytes", body.len());
}

#[tokio::test]
async fn what_is_no_cmaf_does_no_harm_to_a_track() {
    let (_server, client, id) = stage(&[]).await;
    let target = format!("/streams/{id}/Streams(video.cmfv)");
    let track = video();
    client.put(&target, whole(&track, 2, 1)).await.expect(202);
    let broken = [&track.second(2, 1)[..], b"\0\0\0\x04mdat this is no box"].concat();
    for body in [
        b"hello".to_vec(),
        vec![0; 64],
        track.second(2, 1)[..300].to_vec(),
        broken,
    ] {
        let answer = client.post(&target).body(body).await;
        assert!(answer.status < 500, "{answer:?}");
        let held = client.get(&target).await.expect(200).body;
        assert!(
            held.starts_with(&whole(&track, 2, 1)),
            "header and fragments stay"
        );
        let rest = &held[whole(&track, 2, 1).len()..];
        assert!(
            rest.is_empty() || rest == track.second(2, 1),
            "and only whole fragments are added"
        );
    }
}

#[tokio::test]
async fn tracks_of_two_kinds_stand_side_by_side() {
    let (_server, client, id) = stage(&[]).await;
    let (video, audio) = (video(), Track::audio());
    let (v, a) = (
        format!("/streams/{id}/Streams(v.cmfv)"),
        format!("/streams/{id}/Streams(a.cmfa)"),
    );
    client.put(&v, video.header()).await.expect(202);
    client.put(&a, audio.header()).await.expect(202);
    for n in 0..5 {
        client.post(&v).body(video.second(n, 1)).await.ok();
        client.post(&a).body(audio.second(n, 2)).await.ok();
    }
    client.get(&v).await.expect(200).is(&whole(&video, 5, 1));
    client.get(&a).await.expect(200).is(&whole(&audio, 5, 2));
}

#[tokio::test]
async fn a_deleted_track_begins_anew() {
    let (_server, client, id) = stage(&[]).await;
    let target = format!("/streams/{id}/Streams(video.cmfv)");
    let track = video();
    client.put(&target, whole(&track, 3, 1)).await.expect(202);
    client.delete(&target).await.expect(200);
    client.get(&target).await.problem(404);
    client
        .post(&target)
        .body(track.second(3, 1))
        .await
        .problem(412);
    client.put(&target, whole(&track, 1, 2)).await.expect(202);
    client
        .get(&target)
        .await
        .expect(200)
        .is(&whole(&track, 1, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_connections_feed_one_track() {
    let (server, client, id) = stage(&[]).await;
    let target = format!("/streams/{id}/Streams(video.cmfv)");
    let track = video();
    client.put(&target, track.header()).await.expect(202);
    let mut calls = tokio::task::JoinSet::new();
    for lane in 0..8u64 {
        let http = if lane % 2 == 0 { Http::One } else { Http::Two };
        let (client, target, track) = (server.client(http, None), target.clone(), track.clone());
        calls.spawn(async move {
            for n in 0..10 {
                // Every second fragment is sent by two lanes.
                let second = if n % 2 == 0 { 1000 + n } else { lane * 10 + n };
                client
                    .post(&target)
                    .body(track.second(second, 1))
                    .await
                    .ok();
            }
        });
    }
    calls.join_all().await;
    let body = client.get(&target).await.expect(200).body;
    let size = track.second(0, 1).len();
    let rest = &body[track.header().len()..];
    assert!(body.starts_with(&track.header()));
    let mut got: Vec<&[u8]> = rest.chunks(size).collect();
    got.sort_unstable();
    let mut expected: Vec<Vec<u8>> = (0..8u64)
        .flat_map(|lane| (0..5).map(move |n| lane * 10 + 2 * n + 1))
        .chain((0..5).map(|n| 1000 + 2 * n))
        .map(|second| track.second(second, 1))
        .collect();
    expected.sort_unstable();
    assert_eq!(got.len(), expected.len(), "each fragment once");
    assert!(got == expected, "and each whole");
}

#[tokio::test]
async fn a_body_of_known_length_that_ends_short_leaves_a_sound_track() {
    let (server, client, id) = stage(&[]).await;
    let target = format!("/streams/{id}/Streams(video.cmfv)");
    let track = video();
    client.put(&target, whole(&track, 1, 1)).await.expect(202);
    let more = [track.second(1, 1), track.second(2, 1), track.second(3, 1)].concat();
    let mut raw = server.h1(None).await;
    raw.head(
        "POST",
        &target,
        &[("Content-Length", &more.len().to_string())],
    )
    .await;
    raw.send(&more[..more.len() - 100]).await;
    raw.cut();
    eventually("it has ended", async || {
        let records = client.uploads_to(id, "Streams(video.cmfv)").await;
        records
            .get(1)
            .is_some_and(|record| record["status"] != "accepted")
            .then_some(())
    })
    .await;
    let body = client.get(&target).await.expect(200).body;
    assert!(
        (1..=3).any(|n| body == whole(&track, n, 1)),
        "whole fragments only: {} bytes",
        body.len()
    );
    client.post(&target).body(more).await.ok();
    client
        .get(&target)
        .await
        .expect(200)
        .is(&whole(&track, 4, 1));
}

#[tokio::test]
async fn the_first_request_may_be_empty() {
    // DASH-IF Ingest, Interface-1: the source tries the address before it sends anything.
    let (server, client, id) = stage(&[]).await;
    for path in ["Streams(video.cmfv)", "a.cmfv", ""] {
        let target = format!("/streams/{id}/{path}");
        for method in ["PUT", "POST"] {
            client.call(method, &target).await.ok();
            let mut raw = server.h1(None).await;
            raw.begin(method, &target).await;
            raw.last_chunk().await;
            raw.answer(method).await.ok();
        }
        client
            .call("POST", &format!("/streams/{}/{path}", id + 1))
            .await
            .problem(404);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_on_few_paths_makes_no_server_error() {
    let (server, client, id) = stage(&[]).await;
    let track = video();
    let mut calls = tokio::task::JoinSet::new();
    for lane in 0..8u64 {
        let http = if lane % 2 == 0 { Http::One } else { Http::Two };
        let (client, track) = (server.client(http, None), track.clone());
        calls.spawn(async move {
            for n in 0..40u64 {
                let name = ["a.m4s", "a.cmfv", "Streams(a.cmfv)"][(n % 3) as usize];
                let target = format!("/streams/{id}/{name}");
                let seed = (lane * 40 + n) as u8;
                let call = match (n * 7 + lane) % 6 {
                    0 => client.put(&target, whole(&track, 3, seed)),
                    1 => client.post(&target).body(track.second(n, seed)),
                    2 => client.put(&target, track.header()),
                    3 => client.delete(&target),
                    4 => client.get(&target),
                    _ => client.head(&target),
                };
                let answer = call.await;
                assert!(answer.status < 500, "{answer:?}");
            }
        });
    }
    while let Some(done) = calls.join_next().await {
        done.expect("no server error");
    }
    for name in ["a.m4s", "a.cmfv", "Streams(a.cmfv)"] {
        let target = format!("/streams/{id}/{name}");
        client.delete(&target).await.expect(200);
        client.put(&target, whole(&track, 2, 7)).await.expect(202);
        client
            .get(&target)
            .await
            .expect(200)
            .is(&whole(&track, 2, 7));
    }
}
