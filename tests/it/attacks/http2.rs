//! Hostile connections over HTTP/2, frame by frame (RFC 9113), and how each ends.

use std::collections::BTreeSet;

use super::Scene;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header as a literal that no table remembers (RFC 7541, 6.2.2).
fn header(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        let length = text.len();
        if length < 127 {
            bytes.push(u8::try_from(length).unwrap());
        } else {
            bytes.push(127);
            let mut rest = length - 127;
            while rest >= 128 {
                bytes.push(u8::try_from(rest % 128).unwrap() | 128);
                rest /= 128;
            }
            bytes.push(u8::try_from(rest).unwrap());
        }
        bytes.extend(text.as_bytes());
    }
    bytes
}

/// The headers of a GET.
fn get(path: &str) -> Vec<u8> {
    let pairs =
        [(":method", "GET"), (":scheme", "http"), (":authority", "localhost"), (":path", path)];
    pairs.iter().flat_map(|(name, value)| header(name, value)).collect()
}

/// A whole request without a body.
fn request(stream: u32, headers: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, headers)
}

/// A connection with frames.
fn connection(frames: &[Vec<u8>]) -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[]), &frames.concat()].concat()
}

/// What the server says on a connection, sorted, without what every connection has.
fn said(mut answer: &[u8]) -> Vec<String> {
    let mut said = BTreeSet::new();
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = answer {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        answer = rest;
        let code = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
        let word = match *kind {
            // 200 and the statuses of failures that have a place in the static table (RFC 7541, appendix A).
            HEADERS if payload[0] == 0x88 => "200".to_owned(),
            HEADERS => "another status".to_owned(),
            RST_STREAM => format!("reset {}", code(0)),
            GOAWAY => format!("go away {}", code(4)),
            _ => continue,
        };
        said.insert(word);
    }
    said.into_iter().collect()
}

/// A name, the frames, what is said until the connection ends.
type Attack = (&'static str, Vec<Vec<u8>>, &'static [&'static str]);

fn attacks() -> Vec<Attack> {
    let ready = get("/readyz");
    let odd = |number: u32| 2 * number + 1;
    let with = |name: &str, value: &str| request(1, &[ready.clone(), header(name, value)].concat());
    let reset =
        |stream| [request(stream, &ready), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat();
    // One that a table remembers, and then by its index alone, again and again (RFC 7541, 6.1).
    let mut bomb =
        [ready.clone(), vec![0x40], header("x", &"a".repeat(4000))[1..].to_vec()].concat();
    bomb.extend([0xbe; 12_000]);
    vec![
        ("rapid reset", (0..3000).map(|number| reset(odd(number))).collect(), &["go away 11"]),
        (
            "a flood of CONTINUATION",
            [
                vec![frame(HEADERS, END_STREAM, 1, &ready)],
                vec![frame(CONTINUATION, 0, 1, &header("x", &"y".repeat(100))); 20_000],
            ]
            .concat(),
            &["go away 11"],
        ),
        (
            "empty CONTINUATION without end",
            [
                vec![frame(HEADERS, END_STREAM, 1, &ready)],
                vec![frame(CONTINUATION, 0, 1, &[]); 50_000],
            ]
            .concat(),
            &["go away 11"],
        ),
        ("a flood of SETTINGS", vec![frame(SETTINGS, 0, 0, &[]); 20_000], &[]),
        ("a flood of PING", vec![frame(PING, 0, 0, &[0; 8]); 20_000], &[]),
        ("a flood of PRIORITY", vec![frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 16]); 20_000], &[]),
        (
            "a flood of empty DATA",
            [vec![frame(HEADERS, END_HEADERS, 1, &ready)], vec![frame(DATA, 0, 1, &[]); 50_000]]
                .concat(),
            &["go away 11"],
        ),
        ("a bomb of HPACK", vec![request(1, &bomb)], &["go away 11"]),
        (
            "a value of 100 kB",
            vec![
                [
                    frame(HEADERS, END_STREAM, 1, &ready),
                    header("x", &"a".repeat(100_000))
                        .chunks(16_000)
                        .map(|part| frame(CONTINUATION, 0, 1, part))
                        .collect::<Vec<_>>()
                        .concat(),
                    frame(CONTINUATION, END_HEADERS, 1, &[]),
                ]
                .concat(),
            ],
            &["go away 11"],
        ),
        ("headers that cannot be decoded", vec![request(1, &[0xff; 50])], &["go away 1"]),
        (
            "a table of another size than allowed",
            vec![request(1, &[&[0x3f, 0xff, 0xff, 0x7f][..], &ready].concat())],
            &["go away 1"],
        ),
        (
            "a window past its end",
            vec![frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]); 2],
            &["go away 3"],
        ),
        (
            "a window that grows by nothing",
            vec![frame(WINDOW_UPDATE, 0, 0, &[0; 4])],
            &["go away 1"],
        ),
        (
            "a frame of 16 MB",
            vec![[vec![0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1], vec![0; 20_000]].concat()],
            &["go away 6"],
        ),
        ("DATA on a stream that is not open", vec![frame(DATA, 0, 1, b"x")], &["go away 1"]),
        ("HEADERS on stream 0", vec![request(0, &ready)], &["go away 1"]),
        ("a stream of the server's", vec![request(2, &ready)], &["go away 1"]),
        (
            "a stream that goes backwards",
            vec![request(5, &ready), request(3, &ready)],
            &["go away 1"],
        ),
        ("frames of unknown kinds", vec![frame(0xee, 0xff, 1, &[0; 100]); 10_000], &[]),
        ("a line feed in a value", vec![with("x", "a\r\nevent: bye")], &["go away 1"]),
        ("NUL in a value", vec![with("x", "a\0b")], &["go away 1"]),
        ("a name in capitals", vec![with("X-Name", "a")], &["go away 1"]),
        ("a transfer encoding", vec![with("transfer-encoding", "chunked")], &["reset 1"]),
        ("a length that is wrong", vec![with("content-length", "17")], &["reset 1"]),
        ("a second path", vec![with(":path", "/healthz")], &["reset 1"]),
        ("no path", vec![request(1, &header(":method", "GET"))], &["reset 1"]),
        ("a path that is none", vec![request(1, &get("readyz"))], &["reset 1"]),
        (
            "another site",
            vec![request(
                1,
                &[get("/api/telemetry/traces/live"), header("host", "evil.example")].concat(),
            )],
            &["another status", "go away 0"],
        ),
        (
            "a thousand streams at once",
            (0..1000)
                .map(|number| request(odd(number), &get("/api/telemetry/traces/live")))
                .collect(),
            &["200", "go away 0", "reset 7"],
        ),
        (
            "a stream with no window",
            vec![
                frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]),
                request(1, &get("/api/telemetry/traces/live?type=good")),
            ],
            &["200", "go away 0"],
        ),
    ]
}

#[tokio::test]
async fn each_ends_its_own_connection_at_worst() {
    let mut scene = Scene::set().await;
    let mut wrong = Vec::new();
    for (name, frames, expected) in attacks() {
        println!("{name}");
        let said = said(&scene.exchange(&connection(&frames)).await);
        let events = scene.check(name).await;
        if said != expected || events > 0 {
            wrong.push(format!("{name}: {said:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    drop(scene.good);
    scene.server.stop().await.unwrap();
}
