//! Endless uploads: readable while they run, kept to their last whole fragment when they are cut.

use bytes::Bytes;
use serde_json::Value;

use crate::harness::{H1, eventually, same};
use crate::media::payload;
use crate::track::{held, stage, video, whole};

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
async fn a_body_that_ends_without_its_last_chunk_is_incomplete() {
    let (server, client, id) = stage(&[]).await;
    let track = video();
    for name in ["a.mp4", "Streams(a.cmfv)"] {
        let target = format!("/streams/{id}/{name}");
        let mut raw = server.h1(None).await;
        raw.begin("PUT", &target).await;
        raw.chunk(&whole(&track, 2, 1)).await;
        // A clean end of TLS and TCP is no end of the body.
        raw.close().await;
        // A running upload is recorded as incomplete, too.
        held(&client, &target, &whole(&track, 2, 1)).await;
        client.settled(id, name, "incomplete").await;
        client
            .get(&target)
            .await
            .expect(200)
            .is(&whole(&track, 2, 1));
    }
}

#[tokio::test]
async fn a_whole_object_beats_a_live_one() {
    let (server, client, id) = stage(&[]).await;
    let track = video();
    let target = format!("/streams/{id}/a.mp4");
    let mut raw = server.h1(None).await;
    raw.begin("PUT", &target).await;
    raw.chunk(&whole(&track, 2, 1)).await;
    held(&client, &target, &whole(&track, 2, 1)).await;
    let new = whole(&track, 1, 2);
    client.put(&target, new.clone()).await.expect(202);
    client.get(&target).await.expect(200).is(&new);
    raw.chunk(&track.second(2, 1)).await;
    client.get(&target).await.expect(200).is(&new);
    raw.cut();
    client.get(&target).await.expect(200).is(&new);
}

#[tokio::test]
async fn a_follower_over_h2_gets_it_all() {
    let (server, client, id) = stage(&[]).await;
    let track = video();
    let target = format!("/streams/{id}/Streams(a.cmfv)");
    let mut raw = server.h1(None).await;
    raw.begin("POST", &target).await;
    raw.chunk(&whole(&track, 1, 1)).await;
    held(&client, &target, &whole(&track, 1, 1)).await;
    let mut followers = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let mut h2 = server.h2(None).await;
        let target = target.clone();
        followers.spawn(async move { h2.get(&target).await.expect(200).body });
    }
    for n in 1..10 {
        raw.chunk(&track.second(n, 1)).await;
        held(&client, &target, &whole(&track, n + 1, 1)).await;
    }
    raw.last_chunk().await;
    raw.answer("POST").await.ok();
    // Some may have begun late; what they got is the whole track all the same.
    while let Some(body) = followers.join_next().await {
        same(
            "what a follower got",
            &body.expect("no panic"),
            &whole(&track, 10, 1),
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_does_not_read_holds_nobody_up() {
    let (server, client, id) = stage(&[]).await;
    let track = video();
    let target = format!("/streams/{id}/Streams(a.cmfv)");
    let mut raw = server.h1(None).await;
    raw.begin("PUT", &target).await;
    raw.chunk(&whole(&track, 1, 1)).await;
    held(&client, &target, &whole(&track, 1, 1)).await;
    let mut lazy = server.h1(None).await;
    lazy.head("GET", &target, &[]).await;
    lazy.answer_head().await.expect("an answer");
    let data = payload(1 << 20, 3);
    for n in 1..40 {
        raw.chunk(&track.fragment(n + 1, u64::from(n) * 12_800, 12_800, 1, &data))
            .await;
    }
    raw.last_chunk().await;
    raw.answer("PUT").await.expect(202);
    let length = client
        .head(&target)
        .await
        .expect(200)
        .header("content-length")
        .to_owned();
    assert!(
        length.parse::<usize>().expect("a number") > 39 << 20,
        "{length}"
    );
}

#[tokio::test]
async fn ranges_of_a_growing_object_are_of_what_is_there() {
    let (server, client, id) = stage(&[]).await;
    let track = video();
    let target = format!("/streams/{id}/a.mp4");
    let mut raw = server.h1(None).await;
    raw.begin("PUT", &target).await;
    raw.chunk(&whole(&track, 2, 1)).await;
    let there = whole(&track, 2, 1);
    held(&client, &target, &there).await;
    let size = there.len();
    for (range, expected) in [
        ("bytes=0-7".to_owned(), &there[..8]),
        (format!("bytes={}-", size - 10), &there[size - 10..]),
        ("bytes=-10".to_owned(), &there[size - 10..]),
        (format!("bytes=8-{}", size + 1000), &there[8..]),
    ] {
        client
            .get(&target)
            .header("Range", &range)
            .await
            .expect(206)
            .is(expected);
    }
    let beyond = format!("bytes={}-", size + 1000);
    client
        .get(&target)
        .header("Range", &beyond)
        .await
        .expect(416);
    raw.last_chunk().await;
    raw.answer("PUT").await.expect(202);
}

#[tokio::test]
async fn a_stream_deleted_under_a_live_upload_is_gone() {
    let (server, client, id) = stage(&[]).await;
    let track = video();
    let mut live = server.h1(None).await;
    live.begin("PUT", &format!("/streams/{id}/a.mp4")).await;
    live.chunk(&whole(&track, 2, 1)).await;
    held(
        &client,
        &format!("/streams/{id}/a.mp4"),
        &whole(&track, 2, 1),
    )
    .await;
    let mut plain = server.h1(None).await;
    plain
        .head(
            "PUT",
            &format!("/streams/{id}/b.m4s"),
            &[("Content-Length", "4")],
        )
        .await;
    plain.send(b"ha").await;
    client.delete(&format!("/api/v1/streams/{id}")).await.ok();
    client
        .get(&format!("/streams/{id}/a.mp4"))
        .await
        .problem(404);
    let _ = plain.try_send(b"lf").await;
    let _ = live.try_send(b"0\r\n\r\n").await;
    for (raw, what) in [(&mut plain, "plain"), (&mut live, "live")] {
        if let Some(answer) = raw.answer_head().await {
            assert!((400..500).contains(&answer.status), "{what}: {answer:?}");
        }
    }
    client
        .get(&format!("/streams/{id}/b.m4s"))
        .await
        .problem(404);
    assert!(!server.path(&format!("streams/{id}/b.m4s")).exists());
    assert!(!server.path(&format!("streams/{id}/a.mp4")).exists());
}
