//! A working directory that the Matter project's test server has written, taken over.
//!
//! It is built here as that server writes it: PKCS #1 keys, RSA roots and leaves with its extensions, a
//! leaf and its root with an empty line between them, `stream.json` with four spaces, evidence as Python's
//! `getpeercert()`, files that everybody may read. They need the Debian packages openssl and python3.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::harness::{Ending, Http, Identity, Server, tool};
use crate::media::Track;

/// Extensions of a client's certificate.
const CLIENT: &str = "basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature,keyEncipherment\n\
     extendedKeyUsage=clientAuth\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n\
     crlDistributionPoints=URI:http://not.a.valid.website.com/some/path/to/a.crl\n";
/// And of the server's, which has no names.
const SERVER: &str = "basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\n\
     extendedKeyUsage=serverAuth\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n";
const FIRST_MANIFEST: &str = "<MPD type=\"dynamic\"/>";
const LAST_MANIFEST: &str = "<MPD type=\"static\"/>";

struct Tree {
    dir: tempfile::TempDir,
    clock: SystemTime,
}

impl Tree {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let tree = Self {
            dir,
            clock: SystemTime::now() - Duration::from_secs(86_400),
        };
        for hierarchy in ["server", "device"] {
            tree.root(hierarchy);
        }
        tree
    }

    fn at(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    /// A file as that server leaves it, a second younger than the one before.
    fn file(&mut self, relative: &str, bytes: impl AsRef<[u8]>) {
        let path = self.at(relative);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(&path, bytes).expect("written");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).expect("its mode");
        self.clock += Duration::from_secs(1);
        let file = std::fs::File::options()
            .write(true)
            .open(&path)
            .expect("the file");
        file.set_modified(self.clock).expect("its time");
    }

    fn root(&self, hierarchy: &str) {
        std::fs::create_dir_all(self.at(&format!("certs/{hierarchy}"))).expect("a directory");
        let (key, cert) = self.pair(hierarchy, "root");
        openssl(&["genrsa", "-traditional", "-out", &key, "2048"]);
        let subject = format!("/O=CSA/CN=TC_PAVS root {:0<16}", hierarchy);
        openssl(&[
            "req",
            "-x509",
            "-new",
            "-key",
            &key,
            "-sha256",
            "-days",
            "7305",
            "-subj",
            &subject,
            "-addext",
            "basicConstraints=critical,CA:TRUE,pathlen:0",
            "-addext",
            "keyUsage=critical,digitalSignature,keyCertSign,cRLSign",
            "-out",
            &cert,
        ]);
    }

    fn pair(&self, hierarchy: &str, name: &str) -> (String, String) {
        let file = |kind| {
            let path = self.at(&format!("certs/{hierarchy}/{name}.{kind}"));
            path.to_string_lossy().into_owned()
        };
        (file("key"), file("pem"))
    }

    /// A leaf of the hierarchy. That server's live an hour, which is too short for a test to lean on.
    fn leaf(&mut self, hierarchy: &str, name: &str, extensions: &str, days: &str) {
        let (key, cert) = self.pair(hierarchy, name);
        let (root_key, root) = self.pair(hierarchy, "root");
        let work = tempfile::tempdir().expect("a directory");
        let at = |name: &str| work.path().join(name).to_string_lossy().into_owned();
        std::fs::write(at("ext"), extensions).expect("written");
        openssl(&["genrsa", "-traditional", "-out", &key, "2048"]);
        let subject = format!("/O=CSA/OU=TC_PAVS/CN={name}");
        openssl(&[
            "req",
            "-new",
            "-key",
            &key,
            "-subj",
            &subject,
            "-out",
            &at("csr"),
        ]);
        openssl(&[
            "x509",
            "-req",
            "-in",
            &at("csr"),
            "-CA",
            &root,
            "-CAkey",
            &root_key,
            "-sha256",
            "-days",
            days,
            "-set_serial",
            "0x17F8D9A05B1C22334455667788990A0B0C0D0E0F",
            "-extfile",
            &at("ext"),
            "-out",
            &cert,
        ]);
        let text = |path: &str| std::fs::read_to_string(path).expect("a certificate");
        let chain = format!("{}\n{}", text(&cert), text(&root));
        self.file(&format!("certs/{hierarchy}/{name}.pem"), chain);
    }

    /// What that server writes beside an upload of the device.
    fn evidence(&self, device: &str) -> String {
        let (_, cert) = self.pair("device", device);
        let program = "import json, ssl, sys; print(json.dumps(ssl._ssl._test_decode_cert(sys.argv[1])), end='')";
        let ran = tool("python3", "the package python3", &["-c", program, &cert]);
        assert!(ran.status.success(), "{ran:?}");
        String::from_utf8(ran.stdout).expect("text")
    }

    /// All files but the server's own certificate, with their bytes.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut left = vec![self.at("streams"), self.at("certs/device")];
        while let Some(dir) = left.pop() {
            for entry in std::fs::read_dir(dir).expect("a directory") {
                let path = entry.expect("an entry").path();
                if path.is_dir() && !path.is_symlink() {
                    left.push(path);
                } else if path.is_file() {
                    let bytes = std::fs::read(&path).expect("a file");
                    files.insert(path, bytes);
                }
            }
        }
        files
    }

    async fn start(&self) -> Server {
        Server::with().directory(self.dir.path()).start().await
    }
}

fn openssl(arguments: &[&str]) {
    let ran = tool("openssl", "the package openssl", arguments);
    assert!(
        ran.status.success(),
        "openssl {arguments:?}: {}",
        String::from_utf8_lossy(&ran.stderr)
    );
}

/// A DASH session that came to its end, and an upload that broke a rule; a stream of tracks; two whose
/// descriptions are of no use.
fn written() -> Tree {
    let mut tree = Tree::new();
    tree.leaf("device", "cam", CLIENT, "30");
    tree.leaf("server", "localhost", SERVER, "1");
    let evidence = tree.evidence("cam");
    let track = Track::video(640, 360);
    let objects: [(&str, Vec<u8>); 6] = [
        ("session_1/index.20261121_075214.mpd", FIRST_MANIFEST.into()),
        ("session_1/media/media.init", track.header()),
        ("session_1/media/segment_1001.m4s", track.second(0, 1)),
        ("session_1/media/segment_1002.m4s", track.second(1, 1)),
        ("session_1/index.mpd", LAST_MANIFEST.into()),
        ("session_1/other/other.init", track.header()),
    ];
    for (path, bytes) in objects {
        if !path.contains("2026") {
            tree.file(&format!("streams/1/{path}.crt"), &evidence);
        }
        tree.file(&format!("streams/1/{path}"), bytes);
    }
    let pair = |path: &str| json!([path, format!("{path}.crt")]);
    let description = json!({
        "id": 1, "strict_mode": true, "interface": "dash", "track_name": "media",
        "sessions": [{
            "id": 1,
            "uploaded_segments": [pair("session_1/media/media.init"),
                pair("session_1/media/segment_1001.m4s"), pair("session_1/media/segment_1002.m4s")],
            "uploaded_manifests": [pair("session_1/index.mpd"), pair("session_1/index.mpd")],
            "complete": true,
            "tracks": {"media": {"name": "media", "state": "completed", "segment_count": 2}},
            "hls_expected_track_count": null, "hls_completed_tracks": 0
        }],
        "error_uploads": [{"session_id": null, "file_path": "session_1/other/other.init",
            "reasons": ["Track name mismatch: other != media, must match TrackName provided in ContainerOptions"]}],
        "valid_uploads": [{"session_id": 1, "file_path": "session_1/index.mpd"},
            {"session_id": 1, "file_path": "session_1/media/media.init"},
            {"session_id": 1, "file_path": "session_1/media/segment_1001.m4s"},
            {"session_id": 1, "file_path": "session_1/media/segment_1002.m4s"}]
    });
    tree.file("streams/1/stream.json", indented(&description));
    // A certificate that is not there any more: that server makes a new one under the same name.
    tree.file(
        "streams/2/a/video.cmfv",
        [track.header(), track.second(0, 1)].concat(),
    );
    tree.file(
        "streams/2/a/video.cmfv.crt",
        evidence.replace("17F8", "21AA"),
    );
    tree.file("streams/2/a/plain.cmfa", "x");
    tree.file("streams/2/a/nobody.m4s.crt", &evidence);
    std::os::unix::fs::symlink("/etc/hostname", tree.at("streams/2/link.m4s")).expect("a link");
    tree.file("streams/2/stream.json", indented(&unused(2, "cmaf-ingest")));
    // The number in the paths is the camera's; that server has its own.
    tree.file("streams/3/session_4/index.mpd", FIRST_MANIFEST);
    tree.file("streams/3/session_4/v/v.init", track.header());
    tree.file("streams/3/session_4/v/segment_1.m4s", track.second(0, 1));
    let mut under_way = unused(3, "dash");
    under_way["strict_mode"] = json!(true);
    under_way["sessions"] = json!([{
        "id": 1,
        "uploaded_segments": [pair("session_4/v/v.init"), pair("session_4/v/segment_1.m4s")],
        "uploaded_manifests": [pair("session_4/index.mpd")],
        "complete": false,
        "tracks": {"v": {"name": "v", "state": "segments_uploading", "segment_count": 1},
            "w": {"name": "w", "state": "not_started", "segment_count": 0}},
        "hls_expected_track_count": null, "hls_completed_tracks": 0
    }]);
    tree.file("streams/3/stream.json", indented(&under_way));
    tree.file("streams/5/session_1/index.m3u8", "#EXTM3U\n");
    tree.file(
        "streams/5/stream.json",
        "{\n    \"id\": 5,\n    \"strict_mo",
    );
    tree.file("streams/7/session_1/index.mpd", "<MPD/>");
    tree.file("streams/7/stream.json", indented(&unused(8, "dash")));
    tree
}

/// A stream that knows of no upload.
fn unused(id: u64, interface: &str) -> Value {
    json!({"id": id, "strict_mode": false, "interface": interface, "track_name": null, "sessions": [],
        "error_uploads": [], "valid_uploads": []})
}

/// As Python indents.
fn indented(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    serde::Serialize::serialize(value, &mut serializer).expect("JSON");
    bytes
}

fn paths(list: &Value) -> Vec<&str> {
    let entries = list.as_array().expect("a list").iter();
    entries
        .map(|entry| entry["file_path"].as_str().expect("a path"))
        .collect()
}

#[tokio::test]
async fn d02_the_directory_of_the_server_before_is_taken_over() {
    let tree = written();
    let before = tree.files();
    let server = tree.start().await;
    let client = server.admin();

    let listed = client.get("/streams").await.expect(200).json();
    let streams = listed["streams"].as_array().expect("a list");
    assert_eq!(streams.len(), 3, "{listed}");
    let (dash, tracks) = (&streams[0], &streams[1]);
    assert_eq!(dash["id"], 1);
    assert_eq!(dash["strict_mode"], true);
    assert_eq!(dash["interface"], "dash");
    assert_eq!(dash["track_name"], "media");
    assert_eq!(
        paths(&dash["valid_uploads"]),
        [
            "session_1/media/media.init",
            "session_1/media/segment_1001.m4s",
            "session_1/media/segment_1002.m4s",
            "session_1/index.mpd",
            "session_1/other/other.init",
        ]
    );
    assert_eq!(
        paths(&dash["error_uploads"]),
        ["session_1/other/other.init"]
    );
    assert_eq!(tracks["id"], 2);
    assert_eq!(tracks["interface"], "cmaf-ingest");
    assert_eq!(
        paths(&tracks["valid_uploads"]),
        ["a/video.cmfv", "a/plain.cmfa"]
    );

    // Files of a stream that is not adopted are no new stream's.
    assert_eq!(server.stream(&client, "dash").await, 8);
    objects_are_served_and_understood(&server).await;
    history_is_told(&server).await;
    sessions_go_on(&server).await;
    the_device_is_known(&server, &tree).await;

    for named in [
        "stream 5 cannot be adopted",
        "stream 7 cannot be adopted",
        "streams/2/a/nobody.m4s.crt cannot be adopted",
        "streams/2/link.m4s cannot be adopted",
    ] {
        assert!(server.log().contains(named), "{named}:\n{}", server.log());
    }
    for (path, bytes) in &before {
        if path.ends_with("streams/3/session_4/index.mpd") {
            continue; // the device has sent it again
        }
        let now = std::fs::read(path).expect("it is there");
        assert_eq!(&now, bytes, "{path:?}");
    }
}

async fn objects_are_served_and_understood(server: &Server) {
    let client = server.admin();
    for (path, bytes) in [
        ("session_1/index.mpd", LAST_MANIFEST),
        ("session_1/index.20261121_075214.mpd", FIRST_MANIFEST),
    ] {
        let answer = client.get(&format!("/streams/1/{path}")).await.expect(200);
        answer.is(bytes.as_bytes());
    }
    let probed = client
        .get("/probe/1/session_1/media/segment_1002.m4s")
        .await;
    assert_eq!(probed.expect(200).json()["streams"][0]["width"], 640);
    // The newest certificate is there; of an older one there is what was written down.
    for (path, serial) in [
        (
            "1/session_1/index.mpd",
            "17F8D9A05B1C22334455667788990A0B0C0D0E0F",
        ),
        ("2/a/video.cmfv", "21AAD9A05B1C22334455667788990A0B0C0D0E0F"),
    ] {
        let evidence = client
            .get(&format!("/streams/{path}.crt"))
            .await
            .expect(200)
            .json();
        let file = server.path(&format!("streams/{path}.crt"));
        let written: Value =
            serde_json::from_slice(&std::fs::read(file).expect("evidence")).expect("JSON");
        assert_eq!(evidence["serialNumber"], serial);
        assert_eq!(evidence, written);
    }
    client.get("/streams/2/a/plain.cmfa.crt").await.problem(404);
}

async fn sessions_go_on(server: &Server) {
    let client = server.admin();
    let stream = client.get("/streams/1").await.expect(200).json();
    let sessions = stream["sessions"].as_array().expect("a list");
    assert_eq!(sessions.len(), 1, "{stream}");
    assert_eq!(sessions[0]["id"], 1);
    assert_eq!(sessions[0]["complete"], true);
    assert_eq!(sessions[0]["tracks"]["media"]["state"], "completed");
    assert_eq!(sessions[0]["tracks"]["media"]["segment_count"], 2);
    assert_eq!(stream["valid_uploads"][0]["session_id"], 1, "{stream}");

    // One that was under way: what fits in is taken, what does not is not.
    let device = server.device("late").await;
    let path = "/streams/3/session_4/v/v.init";
    let answer = device.put(path, Track::video(640, 360).header()).await;
    assert_eq!(
        answer.expect(400).json()["errors"],
        json!(["Init segment for track 'v' must be uploaded before any segments"])
    );
    let segment = Track::video(640, 360).second(1, 1);
    device
        .put("/streams/3/session_4/v/segment_2.m4s", segment)
        .await
        .expect(202);
    device
        .put("/streams/3/session_4/index.mpd", LAST_MANIFEST)
        .await
        .expect(202);
    let stream = client.get("/streams/3").await.expect(200).json();
    let session = &stream["sessions"][0];
    assert_eq!(
        (&session["id"], &session["complete"]),
        (&json!(4), &json!(true)),
        "{stream}"
    );
    assert_eq!(session["tracks"]["v"]["segment_count"], 2, "{stream}");
}

async fn history_is_told(server: &Server) {
    let uploads = server.admin().get("/api/v1/streams/1/uploads").await;
    let uploads = uploads.expect(200).json();
    let told: Vec<_> = uploads["uploads"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|upload| {
            assert_eq!(upload["note"], "adopted", "{upload}");
            let text = |name: &str| upload[name].as_str().unwrap_or_default().to_owned();
            (text("path"), text("status"), text("device"))
        })
        .collect();
    let told: Vec<_> = told
        .iter()
        .map(|(path, status, device)| (path.as_str(), status.as_str(), device.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("session_1/index.mpd", "superseded", ""),
            ("session_1/media/media.init", "accepted", "cam"),
            ("session_1/media/segment_1001.m4s", "accepted", "cam"),
            ("session_1/media/segment_1002.m4s", "accepted", "cam"),
            ("session_1/index.mpd", "accepted", "cam"),
            ("session_1/other/other.init", "accepted", "cam"),
        ]
    );
    // The bytes of what was replaced are held, as ours are.
    let first = uploads["uploads"][0]["id"].as_u64().expect("a number");
    let content = format!("/api/v1/streams/1/uploads/{first}/content");
    let content = server.admin().get(&content).await.expect(200);
    content.is(FIRST_MANIFEST.as_bytes());
    let counts = server
        .admin()
        .get("/api/v1/streams/1")
        .await
        .expect(200)
        .json();
    assert_eq!(counts["counts"]["uploads"], 6, "{counts}");
}

/// With the certificate that it was given before.
async fn the_device_is_known(server: &Server, tree: &Tree) {
    let (key, cert) = tree.pair("device", "cam");
    let identity = Identity::read(Path::new(&cert), Path::new(&key));
    for http in [Http::One, Http::Two] {
        let device = server.client(http, Some(&identity));
        let path = "/streams/2/a/again.m4s";
        device.put(path, "again").await.expect(202);
        device.get(path).await.expect(200).is(b"again");
    }
    let uploads = server.admin().get("/api/v1/streams/2/uploads").await.json();
    let newest = uploads["uploads"]
        .as_array()
        .and_then(|list| list.last())
        .expect("a record");
    assert_eq!(newest["device"], "cam", "{uploads}");
    assert_eq!(newest["peer"].as_str().map(str::len), Some(64), "{uploads}");
    // The root is that of before: it goes on issuing.
    server
        .device("cam-2")
        .await
        .post("/streams")
        .await
        .expect(201);
}

#[tokio::test]
async fn a_directory_is_taken_over_once() {
    let mut tree = written();
    let server = tree.start().await;
    let client = server.admin();
    let listed = client.get("/streams").await.expect(200).json();
    client.delete("/api/v1/streams/2").await.expect(204);
    let mut server = server.restart(Ending::Kill).await;
    let again = server.admin().get("/streams").await.expect(200).json();
    assert_eq!(again["streams"][0], listed["streams"][0]);
    assert_eq!(
        again["streams"].as_array().map(Vec::len),
        Some(2),
        "{again}"
    );
    assert!(!server.log().contains("Stream adopted"), "{}", server.log());

    // What could not be adopted is, once it is mended.
    server.end(Ending::Polite).await;
    tree.file("streams/5/stream.json", indented(&unused(5, "hls")));
    let server = tree.start().await;
    let stream = server
        .admin()
        .get("/api/v1/streams/5")
        .await
        .expect(200)
        .json();
    assert_eq!(paths(&stream["valid_uploads"]), ["session_1/index.m3u8"]);
}
