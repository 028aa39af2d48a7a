use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep};

use super::clients::{DATA, END_STREAM, HEADERS, PING, within};
use super::{Served, wait_for};
use crate::tls::Limits;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// One clock is short, the others far beyond the patience of a test: what ends is ended by it.
fn only(clock: impl FnOnce(&mut Limits)) -> impl FnOnce(&mut Limits) {
    |limits| {
        let never = Duration::MAX;
        (limits.header, limits.keep_alive, limits.write_stall) = (never, never, never);
        clock(limits);
    }
}

#[tokio::test]
async fn a_half_sent_header_is_timed_out() {
    let served = Served::with(only(|limits| limits.header = ms(100)));
    for used_before in [false, true] {
        let mut client = served.h1().await;
        if used_before {
            client.get("/who").await;
        }
        client.send("GET /who HTTP/1.1\r\nhost: x\r\n").await;
        let (answer, end) = client.rest().await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        end.expect("a clean end");
    }
    served.seen.wait_closed(2).await;
}

#[tokio::test]
async fn a_trickled_header_is_timed_out() {
    let served = Served::with(only(|limits| limits.header = ms(100)));
    let mut client = served.h1().await;
    let trickle = async {
        while client.stream.write_all(b"G").await.is_ok() && client.stream.flush().await.is_ok() {
            sleep(ms(10)).await;
        }
    };
    within(trickle).await;
    served.seen.wait_closed(1).await;
}

#[tokio::test]
async fn an_idle_connection_outlives_the_header_limit_and_ends_at_its_own() {
    let served = Served::with(only(|limits| {
        limits.header = ms(50);
        limits.keep_alive = ms(800);
    }));
    let mut client = served.h1().await;
    for _ in 0..2 {
        sleep(ms(150)).await;
        client.get("/who").await;
    }
    let begun = Instant::now();
    let (rest, end) = client.rest().await;
    assert_eq!(rest, "");
    end.expect("closed with a close_notify");
    assert!(begun.elapsed() > ms(600), "{:?}", begun.elapsed());
    served.seen.wait_closed(1).await;
}

#[tokio::test]
async fn a_connection_never_used_is_idle() {
    let served = Served::with(only(|limits| limits.keep_alive = ms(100)));
    served.h1().await.rest().await.1.expect("a clean end");
    let mut h2 = served.h2().await;
    while h2.next().await.is_some() {}
    served.seen.wait_closed(2).await;
}

#[tokio::test]
async fn pings_do_not_keep_an_h2_connection() {
    let served = Served::with(only(|limits| {
        limits.header = ms(50);
        limits.keep_alive = ms(400);
    }));
    let mut h2 = served.h2().await;
    h2.request(1, "GET", "/who", END_STREAM).await;
    assert_eq!(h2.next_of(1).await.kind, HEADERS);
    assert_eq!(h2.next_of(1).await.kind, DATA);
    let begun = Instant::now();
    let ping = [&[0, 0, 8, PING, 0, 0, 0, 0, 0][..], &[0; 8]].concat();
    let pinging = async {
        while h2.stream.write_all(&ping).await.is_ok() && h2.stream.flush().await.is_ok() {
            sleep(ms(10)).await;
        }
    };
    within(pinging).await;
    assert!(begun.elapsed() > ms(250), "{:?}", begun.elapsed());
    served.seen.wait_closed(1).await;
}

#[tokio::test]
async fn slow_answers_and_slow_uploads_are_left_alone() {
    let served = Served::with(only(|limits| {
        (limits.header, limits.keep_alive, limits.write_stall) = (ms(50), ms(300), ms(300));
    }));
    let mut client = served.h1().await;
    client
        .send("GET /trickle HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await;
    let (answer, _) = client.rest().await;
    assert_eq!(answer.matches("piece").count(), 10, "{answer}");

    let mut client = served.h1().await;
    client
        .send("PUT /store HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    for _ in 0..2 {
        sleep(ms(400)).await;
        client.send("2\r\nhi\r\n").await;
    }
    client.send("0\r\n\r\n").await;
    assert!(client.answer().await.ends_with("4 bytes"));

    let mut h2 = served.h2().await;
    h2.request(1, "GET", "/trickle", END_STREAM).await;
    h2.request(3, "PUT", "/store", 0).await;
    for flags in [0, 0, END_STREAM] {
        sleep(ms(400)).await;
        h2.send(DATA, flags, 3, b"hi").await;
    }
    let (mut pieces, mut stored) = (0, String::new());
    while pieces < 10 || stored.is_empty() {
        let frame = h2.next().await.expect("the connection is open");
        if frame.kind == DATA && frame.stream == 1 && !frame.payload.is_empty() {
            pieces += 1;
        }
        if frame.kind == DATA && frame.stream == 3 {
            stored = String::from_utf8(frame.payload).unwrap();
        }
    }
    assert_eq!(stored, "6 bytes");
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut() {
    let served = Served::with(only(|limits| limits.write_stall = ms(200)));
    let mut client = served.h1().await;
    client
        .send("GET /endless HTTP/1.1\r\nhost: x\r\n\r\n")
        .await;
    served.seen.wait_note("endless is gone").await;
    served.seen.wait_closed(1).await;
}

#[tokio::test]
async fn an_h2_client_that_opens_no_window_is_cut() {
    let served = Served::with(only(|limits| limits.write_stall = ms(200)));
    let mut h2 = served.h2().await;
    h2.request(1, "GET", "/endless", END_STREAM).await;
    let begun = Instant::now();
    let mut bytes = 0;
    // `next` answers pings and gives no window: 65,535 bytes come, then nothing.
    while let Some(frame) = h2.next().await {
        bytes += frame.payload.len();
    }
    assert!(bytes >= 65_535, "{bytes}");
    assert!(begun.elapsed() > ms(150), "{:?}", begun.elapsed());
    served.seen.wait_note("endless is gone").await;
}

#[tokio::test]
async fn a_slow_reader_is_left_alone() {
    let served = Served::with(|limits| limits.write_stall = ms(700));
    let mut client = served.h1().await;
    client
        .send("GET /endless HTTP/1.1\r\nhost: x\r\n\r\n")
        .await;
    let begun = Instant::now();
    let mut piece = vec![0; 256 << 10];
    while begun.elapsed() < ms(1500) {
        within(tokio::io::AsyncReadExt::read_exact(
            &mut client.stream,
            &mut piece,
        ))
        .await
        .expect("still there");
        sleep(ms(100)).await;
    }
    assert!(served.seen.closed.lock().unwrap().is_empty());
}

#[tokio::test]
async fn graceful_shutdown_lets_an_upload_finish() {
    let served = Served::start();
    let mut client = served.h1().await;
    let mut idle = served.h1().await;
    idle.get("/who").await;
    client
        .send("PUT /store HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhel")
        .await;
    served.seen.wait_note("store began").await;
    served
        .handle
        .graceful_shutdown(Some(Duration::from_secs(5)));
    idle.rest()
        .await
        .1
        .expect("idle connections are closed at once");
    client.send("lo").await;
    assert!(client.answer().await.ends_with("5 bytes"));
    wait_for("the end", || served.task.is_finished()).await;
}
