"""What a certification test harness does with its Push AV server, call by call.

usage: harness.py ADDRESS CSR OUT

The server is at https://0.0.0.0:1234 and, from other machines, at ADDRESS. CSR is a camera's signing
request. The certificates go to OUT; standard output gets a JSON object with the numbers of the streams.
HTTP/1.1, no client certificate, the server is not verified, five seconds for each call.
"""

import json
import pathlib
import ssl
import sys
import warnings

import requests

address, csr, out = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
warnings.simplefilter("ignore")


def call(method, path, body=None, at="https://0.0.0.0:1234"):
    answer = requests.request(method, at + path, json=body, verify=False, timeout=5)
    answer.raise_for_status()
    return answer.json()


def certificate(path):
    der = ssl.PEM_cert_to_DER_cert(call("GET", path)["cert"]["public_cert"])
    assert der[0] == 0x30, der
    return der


def write(name, der):
    (out / name).write_text(ssl.DER_cert_to_PEM_cert(der))


write("root.pem", certificate("/certs/server/root.pem"))
call("POST", "/certs/DUT/sign", {"csr": csr.read_text()})
write("DUT.pem", certificate("/certs/device/DUT.pem"))

streams = {}
for interface in ["dash", "cmaf-ingest", "hls"]:
    streams[interface] = call("POST", f"/streams?interface={interface}", {})["id"]
assert call("POST", f"/streams/{streams['dash']}/trackName", {"track_name": "media"}) is None
# As older harnesses say it.
assert call("POST", f"/streams/{streams['dash']}/trackName", {"trackName": "media"}) is None
assert isinstance(call("POST", "/streams", {})["stream_id"], int)
for path in ["/streams/", "/certs/"]:
    call("GET", path)
made = call("POST", "/certs/dev/keypair", {})
assert all(pathlib.Path(made[file]).read_text().startswith("-----BEGIN") for file in ["key", "cert"])

# A test that passes the enumeration's member where it meant its value.
wrong = requests.post("https://0.0.0.0:1234/streams", params={"interface": "SupportedIngestInterface.dash"},
                      verify=False, timeout=5)
assert wrong.status_code == 422, wrong.status_code
assert '"dash"' in wrong.json()["detail"] and '"dash"' in wrong.json()["errors"][0], wrong.text

# The same from the machine's own address, as from another one; there the name is verified, too.
assert call("GET", "/streams", at=address)["streams"]
verified = requests.get(address + "/streams", verify=str(out / "root.pem"), timeout=5)
verified.raise_for_status()
print(json.dumps(streams))
