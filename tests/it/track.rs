//! Interface-1: a track is pushed by one endless request or by many short ones, and is readable
//! while it grows.

use std::path::Path;

use bytes::Bytes;
use serde_json::Value;

use crate::harness::{Answer, Client, H1, Server, eventually, find, same};
use crate::media::{Track, emsg, mfra, payload, prft, styp};

async fn stage(arguments: &[&str]) -> (Server, Client, u64) {
    let server = Server::with().args(arguments.iter().copied()).start().await;
    let client = server.anonymous();
    let id = server.stream(&client, "cmaf-ingest").await;
    (server, client, id)
}

fn video() -> Track {
    Track::video(320, 180)
}

/// A header and seconds `0..count` of it, in one piece.
fn whole(track: &Track, count: u64, seed: u8) -> Vec<u8> {
    let seconds: Vec<_> = (0..count).map(|n| track.second(n, seed)).collect();
    [track.header(), seconds.concat()].concat()
}

async fn post(raw: &mut H1, target: &str, body: &[u8]) -> Answer {
    raw.request("POST", target, &[], body).await.ok()
}

/// Waits until a GET of the path, by a client that takes what is there, holds these bytes.
async fn held(client: &Client, target: &str, expected: &[u8]) {
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
async fn d12_a_live_upload_is_readable_from_its_first_fragment() {
    let (server, client, id) = stage(&[]).await;
    let track = video();
    for (name, http2) in [
        ("live.mp4", false),
        ("live.cmfv", false),
        ("Streams(l.cmfv)", false),
        ("two.mp4", true),
    ] {
        let target = format!("/streams/{id}/{name}");
        let (mut one, mut two);
        let (mut h1_call, mut h2_call) = (None, None);
        if http2 {
            two = server.h2(None).await;
            h2_call = Some(two.begin("PUT", &target, &[]).await);
        } else {
            one = server.h1(None).await;
            one.begin("PUT", &target).await;
            h1_call = Some(&mut one);
        }
        let mut send = async |bytes: Vec<u8>| match (&mut h1_call, &mut h2_call) {
            (Some(raw), _) => raw.chunk(&bytes).await,
            (_, Some(call)) => call.data(bytes),
            _ => unreachable!(),
        };
        send(track.header()).await;
        let first = track.second(0, 1);
        send(first[..20].to_vec()).await;
        send(first[20..].to_vec()).await;
        held(&client, &target, &whole(&track, 1, 1)).await;

        // A plain GET follows; HEAD, ranges and the list answer with what is there.
        let mut reader = server.h1(None).await;
        reader.head("GET", &target, &[]).await;
        let head = reader.answer_head().await.expect("an answer");
        assert_eq!(head.status, 200);
        assert_eq!(
            head.header("transfer-encoding"),
            "chunked",
            "its length is not known: {head:?}"
        );
        let mut got = read_until(&mut reader, whole(&track, 1, 1).len()).await;
        client.head(&target).await.expect(200);
        let range = client
            .get(&target)
            .header("Range", "bytes=4-7")
            .await
            .expect(206);
        range.is(b"ftyp");

        for n in 1..4 {
            let second = track.second(n, 1);
            send(second[..second.len() - 1].to_vec()).await;
            held(&client, &target, &whole(&track, n, 1)).await;
            send(second[second.len() - 1..].to_vec()).await;
            got.extend(read_until(&mut reader, second.len()).await);
            same("what the reader got", &got, &whole(&track, n + 1, 1));
        }
        match (h1_call, h2_call) {
            (Some(raw), _) => {
                raw.last_chunk().await;
                raw.answer("PUT").await.expect(202);
            }
            (_, Some(mut call)) => {
                call.finish();
                call.answer().await.expect(202);
            }
            _ => unreachable!(),
        }
        while let Some(more) = reader.read_chunk().await {
            got.extend_from_slice(&more);
        }
        same("the whole", &got, &whole(&track, 4, 1));
        client
            .get(&target)
            .await
            .expect(200)
            .is(&whole(&track, 4, 1));
    }
}

/// Reads chunks of an answer until so many bytes are there.
async fn read_until(reader: &mut H1, size: usize) -> Vec<u8> {
    let mut got = Vec::new();
    while got.len() < size {
        got.extend_from_slice(&reader.read_chunk().await.expect("the answer goes on"));
    }
    got
}

#[tokio::test]
async fn a_cut_endless_body_keeps_its_whole_fragments() {
    let (server, client, id) = stage(&[]).await;
    let track = video();
    for name in ["cut.mp4", "cut.cmfv", "Streams(cut.cmfv)"] {
        let target = format!("/streams/{id}/{name}");
        let mut raw = server.h1(None).await;
        raw.begin("PUT", &target).await;
        raw.chunk(&whole(&track, 3, 1)).await;
        raw.chunk(&track.second(3, 1)[..500]).await;
        held(&client, &target, &whole(&track, 3, 1)).await;
        raw.cut();
        client.settled(id, name, "incomplete").await;
        client
            .get(&target)
            .await
            .expect(200)
            .is(&whole(&track, 3, 1));
        let disk =
            std::fs::read(server.path(&format!("streams/{id}/{name}"))).expect("it is on disk");
        same("on disk", &disk, &whole(&track, 3, 1));
    }
    let target = format!("/streams/{id}/two.mp4");
    let mut h2 = server.h2(None).await;
    let mut call = h2.begin("PUT", &target, &[]).await;
    call.data(whole(&track, 2, 1));
    call.data(Bytes::from_static(b"\0\0\x01\0moof"));
    held(&client, &target, &whole(&track, 2, 1)).await;
    call.reset();
    client.settled(id, "two.mp4", "incomplete").await;
    client
        .get(&target)
        .await
        .expect(200)
        .is(&whole(&track, 2, 1));
}

#[tokio::test]
async fn a_silent_endless_body_keeps_its_whole_fragments() {
    let (server, client, id) = stage(&["--chunked-body-timeout", "500ms"]).await;
    let track = video();
    let target = format!("/streams/{id}/quiet.mp4");
    let mut raw = server.h1(None).await;
    raw.begin("PUT", &target).await;
    raw.chunk(&whole(&track, 2, 1)).await;
    raw.answer("PUT").await.problem(408);
    assert!(raw.closed().await);
    client.settled(id, "quiet.mp4", "incomplete").await;
    client
        .get(&target)
        .await
        .expect(200)
        .is(&whole(&track, 2, 1));
}

#[tokio::test]
async fn a_follower_of_a_cut_body_comes_to_an_end() {
    let (server, client, id) = stage(&[]).await;
    let track = video();
    let target = format!("/streams/{id}/cut.mp4");
    let mut raw = server.h1(None).await;
    raw.begin("PUT", &target).await;
    raw.chunk(&whole(&track, 2, 1)).await;
    held(&client, &target, &whole(&track, 2, 1)).await;
    let mut reader = server.h1(None).await;
    reader.head("GET", &target, &[]).await;
    assert_eq!(reader.answer_head().await.expect("an answer").status, 200);
    let mut got = read_until(&mut reader, whole(&track, 2, 1).len()).await;
    raw.cut();
    while let Some(more) = reader.read_chunk().await {
        got.extend_from_slice(&more);
    }
    same("what the follower got", &got, &whole(&track, 2, 1));
}

#[tokio::test]
async fn a_cut_body_without_a_fragment_is_discarded() {
    let (server, client, id) = stage(&[]).await;
    let track = video();
    for (name, body) in [
        ("none.mp4", Vec::new()),
        ("half.mp4", track.header()[..100].to_vec()),
        ("header.mp4", track.header()),
        (
            "almost.mp4",
            [track.header(), track.second(0, 1)[..700].to_vec()].concat(),
        ),
        ("text.txt", b"no media at all".to_vec()),
    ] {
        let mut raw = server.h1(None).await;
        raw.begin("PUT", &format!("/streams/{id}/{name}")).await;
        if !body.is_empty() {
            raw.chunk(&body).await;
        }
        raw.cut();
        client.settled(id, name, "aborted").await;
        client
            .get(&format!("/streams/{id}/{name}"))
            .await
            .problem(404);
    }
}

#[tokio::test]
async fn a_cut_body_never_replaces_a_whole_object() {
    let (server, client, id) = stage(&[]).await;
    let track = video();
    let target = format!("/streams/{id}/held.mp4");
    let old = whole(&track, 2, 1);
    client.put(&target, old.clone()).await.expect(202);
    let mut raw = server.h1(None).await;
    raw.begin("PUT", &target).await;
    raw.chunk(&whole(&track, 5, 2)).await;
    client.get("/healthz").await.expect(200);
    client.get(&target).await.expect(200).is(&old);
    raw.cut();
    eventually("the second upload has ended", async || {
        let records = client.uploads_to(id, "held.mp4").await;
        (records.len() == 2
            && ["aborted", "incomplete"]
                .map(Value::from)
                .contains(&records[1]["status"]))
        .then_some(())
    })
    .await;
    client.get(&target).await.expect(200).is(&old);
    // A whole one does.
    let new = whole(&track, 3, 3);
    let mut raw = server.h1(None).await;
    raw.begin("PUT", &target).await;
    raw.chunk(&new).await;
    client.get(&target).await.expect(200).is(&old);
    raw.last_chunk().await;
    raw.answer("PUT").await.expect(202);
    client.get(&target).await.expect(200).is(&new);
}

#[tokio::test]
async fn a_second_endless_run_takes_the_path_over() {
    let (server, client, id) = stage(&[]).await;
    let track = video();
    for name in ["run.mp4", "run.cmfv", "Streams(run.cmfv)"] {
        let target = format!("/streams/{id}/{name}");
        let mut first = server.h1(None).await;
        first.begin("PUT", &target).await;
        first.chunk(&whole(&track, 3, 1)).await;
        held(&client, &target, &whole(&track, 3, 1)).await;
        first.cut();
        client.settled(id, name, "incomplete").await;
        let mut second = server.h1(None).await;
        second.begin("PUT", &target).await;
        second.chunk(&whole(&track, 2, 2)).await;
        held(&client, &target, &whole(&track, 2, 2)).await;
        second.chunk(&track.second(2, 2)).await;
        second.last_chunk().await;
        second.answer("PUT").await.expect(202);
        client
            .get(&target)
            .await
            .expect(200)
            .is(&whole(&track, 3, 2));
    }
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
