//! Roots and certificates that change while the server runs, and those made elsewhere.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rcgen::KeyUsagePurpose;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::harness::{Ending, Http, Identity, Server, eventually, pavs, run_to_end, tls, tool};
use crate::mtls::Leaf;

/// `root.pem` and `root.key` of a new root in a new directory.
fn root(name: &str) -> TempDir {
    let dir = TempDir::with_prefix("pavs-root-").expect("a directory");
    let mut params = CertificateParams::default();
    params.distinguished_name = Default::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate().expect("a key");
    let root = CertifiedIssuer::self_signed(params, key).expect("a root");
    std::fs::write(dir.path().join("root.pem"), root.pem()).expect("written");
    std::fs::write(dir.path().join("root.key"), root.key().serialize_pem()).expect("written");
    dir
}

fn path(dir: &TempDir, name: &str) -> PathBuf {
    dir.path().join(name)
}

async fn connect(
    server: &Server,
    roots: &Path,
    identity: Option<&Identity>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let settings = tls(roots, rustls::ALL_VERSIONS, Http::One, identity);
    server.connect(settings).await
}

/// `GET` over a connection of its own by somebody who trusts these roots.
async fn get(
    server: &Server,
    roots: &Path,
    identity: Option<&Identity>,
    target: &str,
) -> std::io::Result<String> {
    let mut io = connect(server, roots, identity).await?;
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    io.write_all(request.as_bytes()).await?;
    let mut text = Vec::new();
    io.read_to_end(&mut text).await?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

async fn is_trusted(server: &Server, roots: &Path) -> bool {
    match get(server, roots, None, "/healthz").await {
        Ok(text) => {
            assert!(text.starts_with("HTTP/1.1 200"), "{text}");
            true
        }
        Err(_) => false,
    }
}

/// Runs `pavs` with these words on a working directory.
async fn command(dir: &Path, words: &str) -> (bool, String) {
    let mut command = pavs();
    command
        .args(words.split(' '))
        .arg("--working-directory")
        .arg(dir);
    tokio::task::spawn_blocking(move || {
        let (status, out, err) = run_to_end(&mut command);
        (status.success(), out + &err)
    })
    .await
    .expect("no panic")
}

/// Those who connect time and again, and how often that failed.
struct Regulars {
    stop: Arc<AtomicBool>,
    came: Arc<AtomicUsize>,
    failed: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Regulars {
    fn start(server: &Server, roots: &Path) -> Self {
        let (stop, came, failed): (Arc<AtomicBool>, Arc<AtomicUsize>, Arc<AtomicUsize>) =
            Default::default();
        let address = server.address();
        let settings = Arc::new(tls(roots, rustls::ALL_VERSIONS, Http::One, None));
        let (told, count, bad) = (Arc::clone(&stop), Arc::clone(&came), Arc::clone(&failed));
        let task = tokio::spawn(async move {
            while !told.load(Ordering::Relaxed) {
                let tcp = TcpStream::connect(address).await.expect("a connection");
                let name = rustls::pki_types::ServerName::IpAddress(address.ip().into());
                let shaken = tokio_rustls::TlsConnector::from(Arc::clone(&settings))
                    .connect(name, tcp)
                    .await;
                count.fetch_add(1, Ordering::Relaxed);
                if shaken.is_err() {
                    bad.fetch_add(1, Ordering::Relaxed);
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        });
        Self {
            stop,
            came,
            failed,
            task,
        }
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("no panic");
        assert!(self.came.load(Ordering::Relaxed) > 2);
        assert_eq!(self.failed.load(Ordering::Relaxed), 0, "handshakes failed");
    }
}

#[tokio::test]
pub(crate) async fn devices_of_the_old_root_and_the_new_one_are_taken() {
    let server = Server::start().await;
    let old = server.identity("old").await;
    let first_root = std::fs::read(server.path("certs/device/root.pem")).expect("a root");
    let id = server.stream(&server.anonymous(), "dash").await;
    let mut open = server.h1(Some(&old)).await;
    let target = |name: &str| format!("/streams/{id}/{name}.m4s");

    let (done, said) = command(&server.dir, "ca rotate device --overlap 1h").await;
    assert!(done && said.contains("trusted until"), "{said}");
    let second_root = std::fs::read(server.path("certs/device/root.pem")).expect("a root");
    assert_ne!(first_root, second_root);
    let new = server.identity("new").await;
    let issuer = |cert: &str| {
        let body = cert.rsplit("-----BEGIN").next().expect("its root");
        body.lines().nth(2).expect("base64").to_owned()
    };
    assert_ne!(issuer(&old.cert_pem), issuer(&new.cert_pem));
    open.request("PUT", &target("open"), &[], b"x")
        .await
        .expect(202);
    let server = {
        let mut server = server;
        for round in 0..2 {
            for (name, identity) in [("old", &old), ("new", &new)] {
                let device = server.client(Http::Any, Some(identity));
                device
                    .put(&target(&format!("{name}{round}")), "x")
                    .await
                    .expect(202);
            }
            if round == 0 {
                server = server.restart(Ending::Kill).await;
            }
        }
        server
    };

    // The second root's time is short, the first one's is not over by that. Open connections know.
    let (mut stays, mut cut) = (server.h1(Some(&old)).await, server.h1(Some(&new)).await);
    stays.begin("PUT", &target("stays")).await;
    cut.begin("PUT", &target("cut")).await;
    let rotated = server
        .admin()
        .post_json(
            "/api/v1/ca/rotate",
            &json!({"hierarchy": "device", "overlap": "1s"}),
        )
        .await
        .expect(200)
        .json();
    assert_eq!(rotated["hierarchy"], "device");
    assert!(rotated["root"].as_str().unwrap().starts_with("-----BEGIN"));
    let newest = server.identity("newest").await;
    let trusted = server.path("certs/server/root.pem");
    let is_in = async |identity: &Identity| {
        get(&server, &trusted, Some(identity), "/healthz")
            .await
            .is_ok()
    };
    eventually("the second root is not trusted any more", async || {
        (!is_in(&new).await).then_some(())
    })
    .await;
    assert!(is_in(&old).await && is_in(&newest).await);
    assert!(cut.closed().await, "cut when its root's time is over");
    stays.chunk(b"x").await;
    stays.last_chunk().await;
    stays.answer("PUT").await.expect(202);
    let row = eventually("the refusal is listed", async || {
        let listed = server
            .admin()
            .get("/api/v1/refusals")
            .await
            .expect(200)
            .json();
        let rows = listed["refusals"].as_array().expect("a list").clone();
        rows.into_iter()
            .find(|row| row["cause"] == "certificate-of-old-root")
    })
    .await;
    assert!(
        row["reason"].as_str().unwrap().contains("replaced"),
        "{row}"
    );
    let audit = server.admin().get("/api/v1/audit").await.expect(200).json();
    let changes = audit["changes"].as_array().expect("a list");
    let rotations = changes
        .iter()
        .filter(|change| change["what"] == "root-rotated");
    assert_eq!(rotations.count(), 2, "{audit}");
}

#[tokio::test]
async fn the_last_list_of_an_old_root_is_there_while_it_is_trusted() {
    let server = Server::start().await;
    let files = TempDir::new().expect("a directory");
    let (old_root, new_root) = (path(&files, "old"), server.path("certs/device/root.pem"));
    std::fs::copy(&new_root, &old_root).expect("copied");
    let (good, bad) = (server.identity("good").await, server.identity("bad").await);
    server.admin().delete("/certs/device/bad").await.expect(200);
    let rotate = async |server: &Server, overlap: &str| {
        let wish = json!({"hierarchy": "device", "overlap": overlap});
        let admin = server.admin();
        admin
            .post_json("/api/v1/ca/rotate", &wish)
            .await
            .expect(200);
    };
    rotate(&server, "1h").await;
    let newer = server.identity("newer").await;
    let lists = async |server: &Server| {
        let answer = server.anonymous().get("/api/v1/crl.pem").await.expect(200);
        std::fs::write(path(&files, "crl"), &answer.body).expect("written");
        answer.text().matches("BEGIN X509 CRL").count()
    };
    let verify = |root: &Path, identity: &Identity| {
        std::fs::write(path(&files, "leaf"), &identity.cert_pem).expect("written");
        let file = |name: &str| path(&files, name).to_string_lossy().into_owned();
        let (root, list, leaf) = (root.to_string_lossy(), file("crl"), file("leaf"));
        let words = [
            "verify",
            "-x509_strict",
            "-crl_check",
            "-CAfile",
            &root,
            "-CRLfile",
            &list,
            &leaf,
        ];
        let output = tool("openssl", "the package openssl", &words);
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        match output.status.success() {
            true => Ok(()),
            false => Err(text),
        }
    };
    let mut server = server;
    for round in 0..2 {
        assert_eq!(lists(&server).await, 2);
        assert_eq!(verify(&old_root, &good), Ok(()));
        assert_eq!(verify(&new_root, &newer), Ok(()));
        let refused = verify(&old_root, &bad).expect_err("it was revoked");
        assert!(refused.contains("revoked"), "{refused}");
        if round == 0 {
            server = server.restart(Ending::Kill).await;
        }
    }
    rotate(&server, "1s").await;
    eventually("the second root's list is gone", async || {
        (lists(&server).await == 2).then_some(())
    })
    .await;
    assert_eq!(verify(&old_root, &good), Ok(()));
}

#[tokio::test]
async fn clients_of_either_server_root_stay_connected() {
    let server = Server::start().await;
    let files = TempDir::new().expect("a directory");
    let (old, new, both) = (
        path(&files, "old"),
        path(&files, "new"),
        path(&files, "both"),
    );
    std::fs::copy(server.path("certs/server/root.pem"), &old).expect("copied");
    let cameras = Regulars::start(&server, &old);
    let mut open = server.h1(None).await;

    let (done, said) = command(
        &server.dir,
        "ca rotate server --overlap 1h --switch-after 2s",
    )
    .await;
    assert!(done && said.contains("new root from"), "{said}");
    let bundle = get(&server, &old, None, "/api/v1/ca")
        .await
        .expect("trusted");
    let bundle = &bundle[bundle.find("-----BEGIN").expect("PEM")..];
    assert_eq!(bundle.matches("-----BEGIN CERTIFICATE").count(), 2);
    std::fs::write(&both, bundle).expect("written");
    let newcomers = Regulars::start(&server, &both);
    // The file that scripts name has both, the one that issues first.
    let file = std::fs::read_to_string(server.path("certs/server/root.pem")).expect("a file");
    let end = file.find("-----END CERTIFICATE-----").expect("PEM") + 25;
    std::fs::write(&new, &file[..end]).expect("written");
    assert!(
        !std::fs::read_to_string(&old)
            .unwrap()
            .contains(&file[30..100])
    );
    assert!(file.contains(std::fs::read_to_string(&old).unwrap().trim()));

    eventually("the new root's certificate is shown", async || {
        is_trusted(&server, &new).await.then_some(())
    })
    .await;
    for roots in [&old, &new, &both] {
        assert!(is_trusted(&server, roots).await, "{}", roots.display());
    }
    cameras.end().await;
    newcomers.end().await;
    open.request("GET", "/healthz", &[], b"").await.expect(200);
    server.admin().get("/healthz").await.expect(200);

    let server = server.restart(Ending::Polite).await;
    for roots in [&old, &new, &both] {
        assert!(is_trusted(&server, roots).await, "{}", roots.display());
        let url = format!("https://localhost:{}/healthz", server.port);
        let roots = roots.to_str().expect("UTF-8").to_owned();
        let output = tokio::task::spawn_blocking(move || {
            tool("curl", "curl", &["-sS", "--cacert", &roots, &url])
        });
        let output = output.await.expect("no panic");
        assert!(output.status.success(), "{output:?}");
    }
    // A certificate that is made now has both roots with it, for devices that are new.
    let made = server
        .admin()
        .post("/certs/cam/keypair")
        .await
        .expect(200)
        .json();
    assert_eq!(made["ca"].as_str().unwrap().matches("BEGIN").count(), 2);
}

#[tokio::test]
async fn an_old_server_root_is_let_go_and_mistakes_are_named() {
    let server = Server::with().args(["--access", "closed"]).start().await;
    let files = TempDir::new().expect("a directory");
    let old = path(&files, "old");
    std::fs::copy(server.path("certs/server/root.pem"), &old).expect("copied");
    let rotate = async |body: Value| server.admin().post_json("/api/v1/ca/rotate", &body).await;
    for (body, word) in [
        (json!({"hierarchy": "both"}), "hierarchy"),
        (json!({"hierarchy": "server", "overlap": "soon"}), "overlap"),
        (json!({"hierarchy": "server", "overlap": "99999d"}), "3650d"),
        (
            json!({"hierarchy": "server", "overlap": "1h", "switch_after": "2h"}),
            "switch_after",
        ),
        (
            json!({"hierarchy": "device", "switch_after": "1h"}),
            "switch_after",
        ),
    ] {
        let problem = rotate(body).await.problem(400);
        assert!(problem.contains(word), "{problem}");
    }
    let anonymous = server.anonymous();
    let wish = json!({"hierarchy": "device"});
    anonymous
        .post_json("/api/v1/ca/rotate", &wish)
        .await
        .problem(401);
    let device = server.device("cam").await;
    device
        .post_json("/api/v1/ca/rotate", &wish)
        .await
        .problem(403);

    rotate(json!({"hierarchy": "server", "overlap": "1s", "switch_after": "0s"}))
        .await
        .expect(200);
    eventually("the old root is let go", async || {
        let file = server.path("certs/server/root.pem");
        let text = std::fs::read_to_string(file).expect("a file");
        (text.matches("BEGIN").count() == 1).then_some(())
    })
    .await;
    let bundle = server
        .anonymous()
        .get("/api/v1/ca")
        .await
        .expect(200)
        .text();
    assert_eq!(bundle.matches("BEGIN").count(), 1);
    assert!(!is_trusted(&server, &old).await);

    rotate(json!({"hierarchy": "server"})).await.expect(200);
    let problem = rotate(json!({"hierarchy": "server"})).await.problem(409);
    assert!(problem.contains("wait"), "{problem}");
}

#[tokio::test]
async fn a_rotation_works_on_a_directory_at_rest_and_survives_a_kill() {
    let mut server = Server::start().await;
    server.identity("before").await;
    server.end(Ending::Polite).await;
    let dir = server.dir.clone();
    let device = |name: &str| dir.join("certs/device").join(name);
    let first = std::fs::read_to_string(device("root.pem")).expect("a root");
    let (done, said) = command(&dir, "ca rotate device").await;
    assert!(done, "{said}");
    let second = std::fs::read_to_string(device("root.pem")).expect("a root");
    assert_ne!(first, second);

    // As if it had been killed between the two files of the new root …
    let key = std::fs::read_to_string(device("root.key")).expect("a key");
    let next = dir.join("certs/device-next.pem");
    std::fs::write(&next, format!("{key}{second}")).expect("written");
    std::fs::write(device("root.pem"), &first).expect("written");
    let server = server.restart(Ending::Polite).await;
    assert_eq!(std::fs::read_to_string(device("root.pem")).unwrap(), second);
    assert!(!next.exists());
    for name in ["before", "after"] {
        let identity = match name {
            "before" => Identity::read(&device("before.pem"), &device("before.key")),
            name => server.identity(name).await,
        };
        let client = server.client(Http::Any, Some(&identity));
        client.post("/streams?interface=dash").await.expect(201);
    }

    // … and before anything was recorded.
    let mut server = server;
    server.end(Ending::Kill).await;
    let stranger = root("never recorded");
    let read = |name| std::fs::read_to_string(path(&stranger, name)).expect("a root");
    std::fs::write(&next, read("root.key") + &read("root.pem")).expect("written");
    let server = server.restart(Ending::Kill).await;
    assert_eq!(std::fs::read_to_string(device("root.pem")).unwrap(), second);
    assert!(!next.exists());
    server
        .device("last")
        .await
        .get("/streams")
        .await
        .expect(200);
}

#[tokio::test]
async fn an_own_server_certificate_is_taken_up_anew() {
    let (first, second) = (root("First"), root("Second"));
    let files = TempDir::new().expect("a directory");
    let (cert, key) = (path(&files, "server.pem"), path(&files, "server.key"));
    let put = |root: &TempDir| {
        let leaf = Leaf::server("localhost").issue(root.path());
        let above = std::fs::read_to_string(path(root, "root.pem")).expect("a root");
        std::fs::write(&key, leaf.key_pem).expect("written");
        std::fs::write(&cert, leaf.cert_pem + &above).expect("written");
    };
    put(&first);
    let server = Server::with()
        .args(["--server-cert", cert.to_str().unwrap()])
        .args(["--server-key", key.to_str().unwrap()])
        .start()
        .await;
    let (one, two) = (path(&first, "root.pem"), path(&second, "root.pem"));
    assert!(is_trusted(&server, &one).await);
    let given = get(&server, &one, None, "/api/v1/ca")
        .await
        .expect("trusted");
    assert!(
        given.contains(std::fs::read_to_string(&one).unwrap().trim()),
        "{given}"
    );
    let mut open = connect(&server, &one, None).await.expect("trusted");
    open.write_all(b"POST /streams?interface=dash HTTP/1.1\r\nHost: localhost\r\n")
        .await
        .expect("sent");

    std::fs::write(&cert, "no certificate").expect("written");
    server
        .log_line("the broken file", |line| line.contains("stays"))
        .await;
    assert!(is_trusted(&server, &one).await);
    put(&second);
    eventually("the new certificate is shown", async || {
        is_trusted(&server, &two).await.then_some(())
    })
    .await;
    assert!(!is_trusted(&server, &one).await);
    open.write_all(b"Content-Length: 0\r\nConnection: close\r\n\r\n")
        .await
        .expect("sent");
    let mut text = Vec::new();
    open.read_to_end(&mut text).await.expect("an answer");
    assert!(
        text.starts_with(b"HTTP/1.1 201"),
        "{}",
        String::from_utf8_lossy(&text)
    );
    // A key that is not the certificate's.
    std::fs::write(&key, std::fs::read(path(&first, "root.key")).unwrap()).expect("written");
    server
        .log_line("the wrong key", |line| line.contains("not the key of"))
        .await;
    assert!(is_trusted(&server, &two).await);
    let told = server.log().matches("stays").count();
    assert!(told <= 4, "said {told} times");

    // Commands know the server all the same, and its root is not theirs to change.
    let (done, said) = command(&server.dir, "devices").await;
    assert!(done, "{said}");
    let (done, said) = command(&server.dir, "ca rotate server").await;
    assert!(!done && said.contains("--server-cert"), "{said}");
    drop(server);

    let mut command = pavs();
    command
        .args(["serve", "--port", "0", "--server-cert"])
        .arg(&cert);
    command.arg("--server-key").arg(&key);
    let (status, _, said) = tokio::task::spawn_blocking(move || run_to_end(&mut command))
        .await
        .expect("no panic");
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("not the key of"), "{said}");
}

#[tokio::test]
async fn the_server_renews_its_own_certificate_while_it_runs() {
    let server = Server::with()
        .args(["--server-validity", "16s"])
        .start()
        .await;
    let roots = server.path("certs/server/root.pem");
    let shown = async || {
        let io = connect(&server, &roots, None).await.expect("trusted");
        let certs = io
            .get_ref()
            .1
            .peer_certificates()
            .expect("a chain")
            .to_vec();
        certs[0].to_vec()
    };
    let cameras = Regulars::start(&server, &roots);
    let first = shown().await;
    let mut open = server.h1(None).await;
    eventually("another certificate is shown", async || {
        (shown().await != first).then_some(())
    })
    .await;
    cameras.end().await;
    open.request("GET", "/healthz", &[], b"").await.expect(200);
}

#[tokio::test]
async fn devices_of_a_foreign_authority_have_names_of_their_own() {
    let plant = root("Plant");
    let wd = TempDir::new().expect("a directory");
    let ca = path(&plant, "root.pem");
    let start = async |taken: bool| {
        let starter = Server::with().directory(wd.path());
        match taken {
            true => {
                starter
                    .args(["--device-ca", ca.to_str().unwrap()])
                    .start()
                    .await
            }
            false => starter.start().await,
        }
    };
    let foreign = Leaf::device("cam-1").issue(plant.path());
    let mut id = 0;
    for round in 0..2 {
        let server = start(true).await;
        let theirs = server.client(Http::Any, Some(&foreign));
        if round == 0 {
            let ours = server.device("cam-1").await;
            id = server.stream(&ours, "dash").await;
            let opened = theirs
                .post("/streams?interface=dash")
                .await
                .expect(201)
                .json();
            assert_eq!(opened["owner"], "Plant/cam-1");
            // A certificate of ours cannot take the name of theirs.
            let posing = Leaf::device("Plant/cam-1").issue(&server.path("certs/device"));
            let roots = server.path("certs/server/root.pem");
            let posed = get(&server, &roots, Some(&posing), "/streams").await;
            assert!(posed.is_err(), "{posed:?}");
            server
                .admin()
                .post("/certs/Plant%2Fcam-1/keypair")
                .await
                .problem(400);
        }
        let foreign_stream = id + 1;
        theirs
            .put(&format!("/streams/{foreign_stream}/{round}.m4s"), "x")
            .await
            .expect(202);
        theirs
            .put(&format!("/streams/{id}/{round}.m4s"), "x")
            .await
            .problem(403);
        let listed = theirs.get("/streams").await.expect(200).json();
        assert_eq!(listed["streams"].as_array().unwrap().len(), 1);
    }
    let server = start(false).await;
    let roots = server.path("certs/server/root.pem");
    assert!(
        get(&server, &roots, Some(&foreign), "/healthz")
            .await
            .is_err()
    );
    drop(server);

    let mut command = pavs();
    command.args(["serve", "--port", "0", "--device-ca", "/nowhere/ca.pem"]);
    let (status, _, said) = tokio::task::spawn_blocking(move || run_to_end(&mut command))
        .await
        .expect("no panic");
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("/nowhere/ca.pem"), "{said}");
}

/// A certificate of a device that never ends, by the authority in this directory.
fn endless(directory: &Path, name: &str, serial: u64) -> Identity {
    let read = |name| std::fs::read_to_string(directory.join(name)).expect("a root");
    let root_key = KeyPair::from_pem(&read("root.key")).expect("the root's key");
    let issuer = rcgen::Issuer::from_ca_cert_pem(&read("root.pem"), root_key).expect("the root");
    let mut params = CertificateParams::default();
    params.distinguished_name = Default::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    params.serial_number = Some(serial.into());
    // "No well-defined expiration date": RFC 5280, section 4.1.2.5.
    params.not_after = rcgen::date_time_ymd(9999, 12, 31) + time::Duration::seconds(86_399);
    let key = KeyPair::generate().expect("a key");
    Identity {
        cert_pem: params.signed_by(&key, &issuer).expect("a leaf").pem(),
        key_pem: key.serialize_pem(),
    }
}

#[tokio::test]
async fn certificates_of_a_foreign_authority_are_revoked_here() {
    let plant = root("Plant");
    let server = Server::with()
        .args(["--device-ca", path(&plant, "root.pem").to_str().unwrap()])
        .start()
        .await;
    let admin = server.admin();
    let roots = server.path("certs/server/root.pem");
    let shown = [
        endless(plant.path(), "cam-1", 1),
        endless(plant.path(), "cam-1", 2),
        endless(plant.path(), "cam-2", 2),
    ];
    for identity in &shown {
        let taken = get(&server, &roots, Some(identity), "/streams").await;
        assert!(taken.expect("an answer").starts_with("HTTP/1.1 200"));
    }
    // Two devices have this serial number: neither loses its certificate by mistake.
    let said = admin.delete("/api/v1/certificates/02").await.problem(409);
    assert!(said.contains("serial number"), "{said}");
    let revoked = admin
        .delete("/certs/device/Plant%2Fcam-1")
        .await
        .expect(200)
        .json();
    assert_eq!(revoked["revoked"].as_array().map(Vec::len), Some(2));
    for (identity, is_good) in shown.iter().zip([false, false, true]) {
        let taken = get(&server, &roots, Some(identity), "/streams").await;
        assert_eq!(taken.is_ok(), is_good);
    }
    server.anonymous().get("/api/v1/crl.der").await.expect(200);
}

#[tokio::test]
async fn a_new_server_root_does_not_hold_up_a_new_device_root() {
    let server = Server::start().await;
    for (hierarchy, status) in [("server", 200), ("server", 409), ("device", 200)] {
        server
            .admin()
            .post_json("/api/v1/ca/rotate", &json!({"hierarchy": hierarchy}))
            .await
            .expect(status);
    }
}

#[tokio::test]
async fn certificates_that_end_soon_are_spoken_of() {
    let server = Server::with()
        .args(["--device-validity", "10d"])
        .start()
        .await;
    server.identity("cam").await;
    let metrics = server.admin().get("/metrics").await.expect(200).text();
    for (hierarchy, count) in [("device", 1), ("server", 0)] {
        let line = format!("pavs_certificates_expiring{{hierarchy=\"{hierarchy}\"}} {count}");
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
    // The next start speaks of it; a newer certificate ends that.
    let server = server.restart(Ending::Polite).await;
    let line = server
        .log_line("the certificate ends", |line| {
            line.contains("a certificate ends at")
        })
        .await;
    assert!(line.contains("cam"), "{line}");
    server.identity("cam").await;
    let metrics = server.admin().get("/metrics").await.expect(200).text();
    assert!(metrics.contains("pavs_certificates_expiring{hierarchy=\"device\"} 0"));
    let server = server.restart(Ending::Polite).await;
    server.admin().get("/healthz").await.expect(200);
    assert!(
        !server.log().contains("a certificate ends at"),
        "{}",
        server.log()
    );
}
