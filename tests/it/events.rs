//! `GET /api/v1/events`: what happens, as it happens, without a gap.

use serde_json::Value;

use crate::harness::{Ending, H1, Server, eventually, tool};

/// A listener.
struct Listener {
    connection: H1,
    text: String,
}

impl Listener {
    async fn open(server: &Server, target: &str, fields: &[(&str, &str)]) -> Self {
        let mut connection = server.h1(None).await;
        connection.head("GET", target, fields).await;
        let head = connection.answer_head().await.expect("an answer");
        assert_eq!(head.status, 200, "{head:?}");
        assert_eq!(head.header("content-type"), "text/event-stream");
        Self {
            connection,
            text: String::new(),
        }
    }

    /// The next event that carries data, with its id.
    async fn next(&mut self) -> (i64, Value) {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let line = block.lines().find_map(|line| line.strip_prefix(name));
                    line.map(|value| value.trim().to_owned())
                };
                let (id, data) = (field("id:"), field("data:"));
                self.text = rest.to_owned();
                if let Some(data) = data {
                    let value: Value = serde_json::from_str(&data).expect("JSON");
                    let id = id.expect("an id").parse().expect("a number");
                    assert_eq!(value["seq"], id);
                    return (id, value);
                }
                continue;
            }
            let chunk = self.connection.read_chunk().await.expect("more events");
            self.text.push_str(&String::from_utf8_lossy(&chunk));
        }
    }
}

#[tokio::test]
async fn an_upload_is_told_with_its_stream_and_path() {
    let server = Server::start().await;
    let client = server.device("cam-1").await;
    let (one, two) = (
        server.stream(&client, "dash").await,
        server.stream(&client, "dash").await,
    );
    let target = format!("/api/v1/events?stream={two}&kind=upload");
    let mut listener = Listener::open(&server, &target, &[]).await;
    for (stream, path) in [(one, "a.bin"), (two, "b.bin"), (two, "c.bin")] {
        client
            .put(&format!("/streams/{stream}/{path}"), "x")
            .await
            .expect(202);
    }
    let mut last = 0;
    for path in ["b.bin", "c.bin"] {
        let (id, event) = listener.next().await;
        assert!(id > last, "{id} after {last}");
        last = id;
        assert_eq!(event["stream"], two);
        assert_eq!(event["path"], path);
        assert_eq!(event["kind"], "upload");
        assert_eq!(event["detail"], "accepted");
        let record = format!("/api/v1/streams/{two}/uploads/{}", event["upload"]);
        assert_eq!(client.get(&record).await.expect(200).json()["path"], path);
    }
}

#[tokio::test]
async fn a_listener_goes_on_where_it_was_also_after_a_restart() {
    let server = Server::start().await;
    let client = server.device("cam-1").await;
    let stream = server.stream(&client, "dash").await;
    let put = async |server: &Server, path: &str| {
        let target = format!("/streams/{stream}/{path}");
        server.anonymous().put(&target, "x").await.expect(202);
    };
    let mut listener = Listener::open(&server, "/api/v1/events?kind=upload", &[]).await;
    put(&server, "a.bin").await;
    let (seen, event) = listener.next().await;
    assert_eq!(event["path"], "a.bin");
    put(&server, "b.bin").await;
    // A listener does not hold the server up.
    let server = server.restart(Ending::Polite).await;
    put(&server, "c.bin").await;
    let seen = seen.to_string();
    let resumed = [("last-event-id", seen.as_str())];
    let mut listener = Listener::open(&server, "/api/v1/events?kind=upload", &resumed).await;
    assert_eq!(listener.next().await.1["path"], "b.bin");
    assert_eq!(listener.next().await.1["path"], "c.bin");
}

#[tokio::test]
async fn curl_shows_them() {
    let server = Server::start().await;
    let client = server.device("cam-1").await;
    let stream = server.stream(&client, "hls").await;
    let url = format!("{}/api/v1/events?after=0", server.base());
    let root = server.path("certs/server/root.pem");
    let root = root.to_string_lossy().into_owned();
    let shown = eventually("curl shows the stream", async || {
        let arguments = ["-sN", "--max-time", "1", "--cacert", &root, &url].map(str::to_owned);
        let output = tokio::task::spawn_blocking(move || {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            tool("curl", "the package curl", &arguments)
        });
        let text = output.await.expect("curl runs").stdout;
        let text = String::from_utf8_lossy(&text).into_owned();
        text.contains("event: stream-created").then_some(text)
    })
    .await;
    assert!(shown.contains(&format!("\"stream\":{stream}")), "{shown}");
}

#[tokio::test]
async fn who_may_listen_and_to_what() {
    let server = Server::with().args(["--access", "closed"]).start().await;
    let (one, two) = (server.device("cam-1").await, server.device("cam-2").await);
    let stream = server.stream(&one, "dash").await;
    let own = format!("/api/v1/events?stream={stream}");
    server.anonymous().get("/api/v1/events").await.expect(401);
    server.anonymous().get(&own).await.expect(401);
    one.get("/api/v1/events").await.expect(403);
    two.get(&own).await.expect(403);
    let admin = server.admin();
    admin.get("/api/v1/events?stream=99").await.expect(404);
    let many = format!("/api/v1/events?kind={}", ["x"; 101].join(","));
    admin.get(&many).await.expect(422);
    let wrong = admin
        .get("/api/v1/events")
        .header("last-event-id", "yesterday");
    wrong.await.expect(422);
}

#[tokio::test]
async fn a_listener_whose_token_is_withdrawn_has_to_go() {
    let server = Server::with().args(["--access", "closed"]).start().await;
    let admin = server.admin();
    let wanted = serde_json::json!({"name": "watcher", "role": "viewer"});
    let made = admin
        .post_json("/api/v1/tokens", &wanted)
        .await
        .expect(201)
        .json();
    let bearer = |token: &str| format!("Bearer {token}");
    let (watcher, keeper) = (
        bearer(made["token"].as_str().expect("a token")),
        bearer(&server.token()),
    );
    let open = async |token: &str| {
        let fields = [("Authorization", token)];
        Listener::open(&server, "/api/v1/events?kind=stream-created", &fields).await
    };
    let (mut ended, mut stays) = (open(&watcher).await, open(&keeper).await);
    admin
        .delete(&format!("/api/v1/tokens/{}", made["id"]))
        .await
        .expect(204);
    while ended.connection.read_chunk().await.is_some() {}
    server.stream(&admin, "dash").await;
    stays.next().await;
}

#[tokio::test]
async fn there_is_room_for_so_many_listeners() {
    let server = Server::start().await;
    let mut listeners = Vec::new();
    for _ in 0..64 {
        listeners.push(Listener::open(&server, "/api/v1/events", &[]).await);
    }
    let refused = server.anonymous().get("/api/v1/events").await.expect(503);
    assert!(!refused.header("retry-after").is_empty());
    let status = server.anonymous().get("/api/v1/status").await.expect(200);
    assert_eq!(status.json()["listeners"], 64);
    // Nobody says good-bye: their places are free once nothing can be told them any more.
    drop(listeners);
    eventually("the places are free", async || {
        let status = server.anonymous().get("/api/v1/status").await.expect(200);
        (status.json()["listeners"] == 0).then_some(())
    })
    .await;
}
