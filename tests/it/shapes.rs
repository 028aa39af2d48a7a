//! Bodies of unusual shape: what is no CMAF, not quite CMAF, or broken on the way.

use crate::harness::eventually;
use crate::media::{Muxed, boxed, mfra, payload, progressive, styp};
use crate::track::{held, stage, video, whole};

#[tokio::test]
async fn any_bytes_can_be_stored_by_any_framing() {
    let (server, client, id) = stage(&[]).await;
    let track = video();
    for (n, body) in [
        progressive(),
        [whole(&track, 2, 1), b"and then something else".to_vec()].concat(),
        [whole(&track, 1, 1), vec![0; 100]].concat(),
        [track.header(), b"\0\0\0\x04mdat".to_vec()].concat(),
        [boxed("free", &[b"first"]), whole(&track, 1, 1)].concat(),
        [
            whole(&track, 1, 1),
            boxed("mdat", &[b"without a moof"]),
            track.second(1, 1),
        ]
        .concat(),
        [whole(&track, 1, 1), b"\0\0\0\0mdat to the end".to_vec()].concat(),
        vec![0xff; 5000],
        b"x".to_vec(),
        styp(&["cmfs"]),
    ]
    .into_iter()
    .enumerate()
    {
        for (framing, name) in [("length", "m4s"), ("chunked", "m4s"), ("chunked", "mp4")] {
            let target = format!("/streams/{id}/{framing}-{n}.{name}");
            if framing == "length" {
                client.put(&target, body.clone()).await.expect(202);
            } else {
                let mut raw = server.h1(None).await;
                raw.begin("PUT", &target).await;
                for piece in body.chunks(700) {
                    raw.chunk(piece).await;
                }
                raw.last_chunk().await;
                raw.answer("PUT").await.expect(202);
            }
            client.get(&target).await.expect(200).is(&body);
        }
    }
}

#[tokio::test]
async fn what_is_no_header_may_have_a_tracks_name() {
    // Any file may be called so; it is replaced like any other.
    let (_server, client, id) = stage(&[]).await;
    let target = format!("/streams/{id}/a.cmfv");
    for body in [b"text".to_vec(), progressive(), b"other text".to_vec()] {
        client.put(&target, body.clone()).await.expect(202);
        client.get(&target).await.expect(200).is(&body);
    }
    let track = video();
    client.put(&target, whole(&track, 2, 1)).await.expect(202);
    client
        .get(&target)
        .await
        .expect(200)
        .is(&whole(&track, 2, 1));
}

#[tokio::test]
async fn audio_and_video_in_one_track_are_taken() {
    let (server, client, id) = stage(&[]).await;
    let muxed = Muxed::new();
    for name in ["a.cmfv", "Streams(a.cmfv)", "a.mp4"] {
        let target = format!("/streams/{id}/{name}");
        let mut raw = server.h1(None).await;
        raw.begin("PUT", &target).await;
        let mut expected = muxed.header();
        raw.chunk(&expected).await;
        for n in 0..3 {
            raw.chunk(&muxed.second(n, 1)).await;
            expected.extend(muxed.second(n, 1));
            held(&client, &target, &expected).await;
        }
        raw.last_chunk().await;
        raw.answer("PUT").await.expect(202);
        client.get(&target).await.expect(200).is(&expected);
        let report = client
            .get(&format!("/probe/{id}/{name}"))
            .await
            .expect(200)
            .json();
        assert_eq!(
            report["streams"].as_array().map(Vec::len),
            Some(2),
            "{report}"
        );
    }
}

#[tokio::test]
async fn sizes_in_64_bits_are_read() {
    let (_server, client, id) = stage(&[]).await;
    let track = video();
    let target = format!("/streams/{id}/Streams(a.cmfv)");
    let large = track.large_fragment(1, 0, &payload(5000, 1));
    client.put(&target, track.header()).await.expect(202);
    client.post(&target).body(large.clone()).await.ok();
    client.post(&target).body(track.second(1, 1)).await.ok();
    client.post(&target).body(large.clone()).await.ok();
    client
        .get(&target)
        .await
        .expect(200)
        .is(&[track.header(), large, track.second(1, 1)].concat());
}

#[tokio::test]
async fn an_end_mark_does_not_get_between_fragments() {
    let (server, client, id) = stage(&[]).await;
    let track = video();
    for (name, chunked) in [
        ("a.cmfv", false),
        ("b.cmfv", true),
        ("Streams(c.cmfv)", false),
        ("Streams(d.cmfv)", true),
    ] {
        let target = format!("/streams/{id}/{name}");
        let body = [whole(&track, 2, 1), mfra()].concat();
        if chunked {
            let mut raw = server.h1(None).await;
            raw.begin("PUT", &target).await;
            raw.chunk(&body).await;
            raw.last_chunk().await;
            raw.answer("PUT").await.expect(202);
        } else {
            client.put(&target, body).await.expect(202);
        }
        client.post(&target).body(track.second(2, 1)).await.ok();
        client
            .get(&target)
            .await
            .expect(200)
            .is(&whole(&track, 3, 1));
    }
}

#[tokio::test]
async fn a_fragment_from_any_time_is_taken() {
    let (_server, client, id) = stage(&[]).await;
    let track = video();
    let target = format!("/streams/{id}/Streams(a.cmfv)");
    client.put(&target, track.header()).await.expect(202);
    let mut expected = track.header();
    // Gaps, back in time without overlap, the epoch in ticks, near the end of 64 bits.
    for (n, time) in [
        1 << 20,
        5 << 20,
        0,
        1_790_000_000 * 12_800,
        u64::MAX - 30_000,
    ]
    .into_iter()
    .enumerate()
    {
        let fragment = track.fragment(n as u32, time, 12_800, 1, &payload(500, n as u8));
        client.post(&target).body(fragment.clone()).await.ok();
        expected.extend(fragment);
    }
    client.get(&target).await.expect(200).is(&expected);
    // Past the end of 64 bits.
    let beyond = track.fragment(99, u64::MAX, 12_800, 1, &payload(500, 99));
    let answer = client.post(&target).body(beyond).await;
    assert!(answer.status < 500, "{answer:?}");
}

#[tokio::test]
async fn broken_media_makes_no_server_error() {
    let (server, client, id) = stage(&[]).await;
    let track = video();
    let good = [whole(&track, 2, 1), styp(&["cmfs"]), track.second(2, 1)].concat();
    let mut state = 88_172_645_463_325_252_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).expect("small")
    };
    for n in 0..150 {
        let mut body = good.clone();
        for _ in 0..1 + random(3) {
            let at = random(body.len() - 4);
            match random(4) {
                0 => body[at] ^= 1 << random(8),
                1 => body[at..at + 4].copy_from_slice(&[0xff; 4]),
                2 => body.truncate(at.max(16)),
                _ => drop(body.drain(at..at + 3)),
            }
            if body.len() < 20 {
                break;
            }
        }
        let name = ["Streams(a.cmfv)", "a.cmfv", "a.mp4"][n % 3];
        let target = format!("/streams/{id}/{name}");
        let answer = if n % 2 == 0 {
            client.put(&target, body).await
        } else {
            let mut raw = server.h1(None).await;
            raw.begin("PUT", &target).await;
            raw.chunk(&body).await;
            raw.last_chunk().await;
            raw.answer("PUT").await
        };
        assert!(answer.status < 500, "{answer:?}");
        let read = client.get(&target).await;
        assert!(read.status < 500, "{read:?}");
        let probe = client.get(&format!("/probe/{id}/{name}")).await;
        assert!(probe.status < 500, "{probe:?}");
    }
    // The server goes on as if nothing had been.
    let target = format!("/streams/{id}/Streams(fresh.cmfv)");
    client.put(&target, whole(&track, 2, 1)).await.expect(202);
    client
        .get(&target)
        .await
        .expect(200)
        .is(&whole(&track, 2, 1));
}

#[tokio::test]
async fn an_endless_body_that_breaks_keeps_what_was_whole() {
    let (server, client, id) = stage(&[]).await;
    let track = video();
    for name in ["a.mp4", "Streams(a.cmfv)"] {
        let target = format!("/streams/{id}/{name}");
        let mut raw = server.h1(None).await;
        raw.begin("PUT", &target).await;
        raw.chunk(&whole(&track, 2, 1)).await;
        held(&client, &target, &whole(&track, 2, 1)).await;
        raw.chunk(b"\0\0\0\x02oops").await;
        raw.chunk(&track.second(2, 1)).await;
        raw.cut();
        eventually("it has ended", async || {
            let records = client.uploads_to(id, name).await;
            (records.len() == 1 && !records[0]["status"].is_null()).then_some(())
        })
        .await;
        let body = client.get(&target).await.expect(200).body;
        assert!(
            body.starts_with(&whole(&track, 2, 1)),
            "{name}: {} bytes",
            body.len()
        );
    }
}
