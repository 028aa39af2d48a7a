#!/usr/bin/env bash
# usage: [NAME=VALUE…] scripts/generate_cmaf_content.sh
#
# Pushes a test picture and a tone to a stream, live, the way a camera would: one endless request for
# each CMAF track (DASH-IF Live Media Ingest, interface 1), over mutual TLS. Needs ffmpeg 5.1 or newer.
#
#   PUBLISHING_ENDPOINT  where to push                     [https://localhost:1234/streams/1]
#   CERT, KEY            the device's certificate and key  [~/.pavstest/certs/device/dev.{pem,key}]
#   CACERT               the root of the server            [~/.pavstest/certs/server/root.pem]
#   DURATION             seconds of media                  [until Ctrl-C]
#   TRACKS               directory of the tracks below the endpoint [cmaf/example]
#
# Exits 0 when both tracks were sent to their end, or after Ctrl-C; otherwise with ffmpeg's exit code.
set -euo pipefail

endpoint=${PUBLISHING_ENDPOINT:-https://localhost:1234/streams/1}
endpoint=${endpoint%/}
tracks=${TRACKS:-cmaf/example}
cert=${CERT:-$HOME/.pavstest/certs/device/dev.pem}
key=${KEY:-$HOME/.pavstest/certs/device/dev.key}
cacert=${CACERT:-$HOME/.pavstest/certs/server/root.pem}

fail() {
    echo "generate_cmaf_content.sh: $*" >&2
    exit 1
}

command -v ffmpeg >/dev/null || fail "ffmpeg is not installed; install the package ffmpeg"
for file in "$cert" "$key" "$cacert"; do
    [ -r "$file" ] || fail "cannot read $file (see CERT, KEY and CACERT at the top of this script)"
done

limit=()
[ -z "${DURATION:-}" ] || limit=(-t "$DURATION")

# One fragment a second, written as soon as it is complete: brands and boxes as CMAF wants them, no
# edit list, no index and no trailer, and the wall-clock time in front of each fragment. Decode times
# count from 1970, as sources should have it, so that a later run goes on where an earlier one ended;
# ffmpeg 5.1 lets them begin at 0 without frag_discont.
format=(
    -f mp4 -output_ts_offset "$(date +%s)"
    -movflags +cmaf+dash+delay_moov+skip_sidx+skip_trailer+frag_custom+frag_discont
    -frag_duration 1000000 -min_frag_duration 1000000
    -use_editlist 0 -write_prft wallclock
)
# ffmpeg reads no answer at the end of a body. Waiting for "100 Continue" is the one moment at which it
# notices that the server does not take the upload. It checks the server's certificate only when told to.
upload=(
    -method PUT -chunked_post 1 -send_expect_100 1 -multiple_requests 1
    -headers $'DASH-IF-Ingest: 1.1\r\n'
    -tls_verify 1 -ca_file "$cacert" -cert_file "$cert" -key_file "$key"
)

exec ffmpeg -hide_banner -nostdin -loglevel "${LOG_LEVEL:-warning}" \
    -re -f lavfi -i "testsrc2=size=1280x720:rate=25,format=yuv420p" \
    -re -f lavfi -i "sine=frequency=440:beep_factor=4:sample_rate=48000" \
    -map 0:v "${limit[@]}" -c:v libx264 -preset veryfast -tune zerolatency -profile:v main \
    -b:v 1500k -maxrate 1500k -bufsize 3000k -g 50 -keyint_min 50 -sc_threshold 0 \
    "${format[@]}" -content_type video/mp4 "${upload[@]}" "$endpoint/$tracks/video-720p.cmfv" \
    -map 1:a "${limit[@]}" -c:a aac -b:a 96k -ac 2 \
    "${format[@]}" -content_type audio/mp4 "${upload[@]}" "$endpoint/$tracks/audio-96k.cmfa"
