//! Clients that do not wait for an answer.

use std::time::Duration;

use tokio::net::TcpStream;

use super::clients::{Client, DATA, END_STREAM, RST_STREAM};
use super::{Seen, Served, wait_for};

const UPLOAD: &str = "PUT /store-slowly HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello";

async fn wait_stored(seen: &Seen, count: usize) {
    wait_for("stored uploads", || {
        let notes = seen.notes.lock().unwrap();
        notes.iter().filter(|it| *it == "stored 5").count() == count
    })
    .await;
}

fn tcp(client: &Client) -> &TcpStream {
    client.stream.get_ref().0
}

#[tokio::test]
async fn an_upload_is_stored_though_its_client_closed_behind_the_last_byte() {
    let served = Served::start();
    let mut client = served.h1().await;
    client.send(UPLOAD).await;
    drop(client);
    wait_stored(&served.seen, 1).await;
    served.seen.wait_closed(1).await;
}

#[tokio::test]
async fn an_upload_is_stored_though_its_client_reset_the_connection_behind_it() {
    let served = Served::start();
    let mut client = served.h1().await;
    client.send(UPLOAD).await;
    served.seen.wait_note("read").await;
    tcp(&client).set_zero_linger().expect("set");
    drop(client);
    wait_stored(&served.seen, 1).await;
    served.seen.wait_closed(1).await;
}

#[tokio::test]
async fn uploads_left_behind_are_stored_though_the_first_answer_finds_nobody() {
    let served = Served::start();
    let mut client = served.h1().await;
    client.send(UPLOAD.repeat(4)).await;
    drop(client);
    wait_stored(&served.seen, 4).await;
    served.seen.wait_closed(1).await;
}

/// An answer that lies unread when ffmpeg closes its socket costs it its last bytes.
#[tokio::test]
async fn ffmpeg_is_not_answered_while_it_may_be_closing() {
    let served = Served::start();
    let mut client = served.h1().await;
    let begun = tokio::time::Instant::now();
    client
        .send(
            "PUT /store HTTP/1.1\r\nuser-agent: Lavf/59.27.100\r\nhost: x\r\n\
             transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        )
        .await;
    assert!(client.answer().await.ends_with("5 bytes"));
    assert!(begun.elapsed() >= Duration::from_millis(100));
}

#[tokio::test]
async fn a_download_ends_with_its_client() {
    let served = Served::start();
    let mut client = served.h1().await;
    client
        .send("GET /endless HTTP/1.1\r\nhost: x\r\n\r\n")
        .await;
    client.answer().await;
    drop(client);
    served.seen.wait_note("endless is gone").await;
    served.seen.wait_closed(1).await;
}

#[tokio::test]
async fn a_handler_hears_that_its_body_was_cut() {
    let served = Served::start();
    let mut client = served.h1().await;
    client
        .send("PUT /store HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhel")
        .await;
    served.seen.wait_note("store began").await;
    drop(client);
    served.seen.wait_note("cut").await;
    served.seen.wait_closed(1).await;
}

/// Unlike on HTTP/1.1: hyper drops the handler of a stream that was reset. Handlers have to survive it.
#[tokio::test]
async fn a_reset_h2_stream_cancels_its_handler() {
    let served = Served::start();
    let mut h2 = served.h2().await;
    h2.request(1, "PUT", "/store-slowly", 0).await;
    h2.send(DATA, END_STREAM, 1, b"hello").await;
    served.seen.wait_note("read").await;
    h2.send(RST_STREAM, 0, 1, &[0, 0, 0, 8]).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    h2.request(3, "GET", "/who", END_STREAM).await;
    h2.next_of(3).await;
    let notes = served.seen.notes.lock().unwrap();
    assert_eq!(*notes, ["read"]);
}
