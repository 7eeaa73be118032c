//! `GET /`, the dashboard: the files of `src/dashboard`, as they are. A debug build reads them from there each time, so that what was
//! changed shows at the next reload; any other build has them inside.
//!
//! The page is anybody's: it holds nothing, and asks for what it shows as everybody does.

use async_compression::tokio::write::GzipEncoder;
use rust_embed::{EmbeddedFile, RustEmbed};
use tokio::io::AsyncWriteExt;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, ETAG, HeaderMap,
    HeaderValue, IF_NONE_MATCH, VARY,
};
use warp::{Filter, Rejection};

use crate::reply::{self, HttpResponse};

#[derive(RustEmbed)]
#[folder = "src/dashboard"]
struct Files;

/// The page itself.
const INDEX: &str = "index.html";

/// What the page may do: run its own scripts and the one line in it that looks for the slash at the end of its path, ask its own server, and nothing of what a text could talk it into.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self' 'sha256-xVU9SUenkejaJo4WHqLhlX0lhNYlx/JB7JdpPuZkrcw='; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'",
);

/// One of the files, with its name.
type Named = (String, EmbeddedFile);

pub(crate) fn files() -> BoxedFilter<(HttpResponse,)> {
    let file = name().and_then(async |name: String| find(&name)).boxed();
    let method = warp::get().or(warp::head()).unify();
    let read = file.clone().and(method).and(warp::header::headers_cloned());
    let read = read.then(async |file: Named, headers: HeaderMap| show(&file, &headers).await);
    let wrong = file.map(|_| reply::method_not_allowed("GET, HEAD"));
    read.or(wrong).unify().boxed()
}

/// The path as the name of a file. In segments: warp's `tail` panics at a target that is no path (`GET nonsense`).
fn name() -> BoxedFilter<(String,)> {
    let index = warp::path::end().map(|| INDEX.to_owned());
    let shared = warp::path::param().and(warp::path::end());
    let of_view = warp::path::param().and(warp::path::param()).and(warp::path::end());
    let of_view = of_view.map(|view: String, file: String| format!("{view}/{file}"));
    index.or(shared).unify().or(of_view).unify().boxed()
}

fn find(name: &str) -> Result<Named, Rejection> {
    let file = Files::get(name).ok_or_else(warp::reject::not_found)?;
    Ok((name.to_owned(), file))
}

/// A file, unless the browser has it: it may keep it, and asks each time whether it is still good.
async fn show((name, file): &Named, headers: &HeaderMap) -> HttpResponse {
    let is_small = takes_gzip(headers);
    let hash = const_hex::encode(file.metadata.sha256_hash());
    let form = if is_small { "-gzip" } else { "" };
    let tag = HeaderValue::try_from(format!("\"{hash}{form}\"")).expect("hexadecimal digits");
    let (status, body) = if is_known(&tag, headers) {
        (StatusCode::NOT_MODIFIED, Vec::new())
    } else if is_small {
        (StatusCode::OK, compressed(&without_comments(name, &file.data)).await)
    } else {
        (StatusCode::OK, file.data.to_vec())
    };
    let mut answer = reply::with_type(status, media_type(name), body);
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(ETAG, tag);
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if is_small {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    answer
}

/// Whether the browser has what has this tag; a proxy may have made it a weak one (RFC 9110, section 13.1.2).
fn is_known(tag: &HeaderValue, headers: &HeaderMap) -> bool {
    let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = known.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|known| known.strip_prefix("W/").unwrap_or(known).as_bytes() == tag.as_bytes())
}

/// Without the lines that are only comments, a sixth of what is sent, for which browsers have no use. The others keep their numbers.
fn without_comments(name: &str, text: &[u8]) -> Vec<u8> {
    if !name.ends_with(".js") && !name.ends_with(".css") {
        return text.to_vec();
    }
    let mut is_inside = false;
    let kept = text.split_inclusive(|byte| *byte == b'\n').map(|line| {
        let start = line.trim_ascii_start();
        let is_comment = is_inside || start.starts_with(b"//") || start.starts_with(b"/*");
        is_inside = (is_inside || start.starts_with(b"/*")) && !contains(line, b"*/");
        if is_comment { b"\n".as_slice() } else { line }
    });
    kept.collect::<Vec<_>>().concat()
}

fn contains(line: &[u8], mark: &[u8]) -> bool {
    memchr::memmem::find(line, mark).is_some()
}

/// Browsers do, and say so plainly: weights (RFC 9110, section 12.4.2) are for others, who get the files as they are.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    accepted.is_some_and(|accepted| accepted.split(',').any(|coding| coding.trim() == "gzip"))
}

async fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzipEncoder::new(Vec::new());
    encoder.write_all(bytes).await.expect("memory takes all");
    encoder.shutdown().await.expect("memory takes all");
    encoder.into_inner()
}

/// By the end of its name.
fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.') {
        Some((_, "html")) => "text/html; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, Engine};
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn every_file_has_a_type() {
        for name in Files::iter() {
            assert_ne!(media_type(&name), "application/octet-stream", "{name}");
        }
    }

    #[test]
    fn comments_stay_at_home() {
        let text = b"// a\nlet b = 1; // b\n  /* c\n   d */\n  /** e */\nf('//');\n* g\n";
        let left = "\nlet b = 1; // b\n\n\n\nf('//');\n* g\n";
        assert_eq!(without_comments("x.js", text), left.as_bytes());
        assert_eq!(without_comments("x.svg", text), text);
        // No line can be part of a text that began on another.
        for name in Files::iter().filter(|name| name.ends_with(".js")) {
            let file = Files::get(&name).unwrap();
            for line in str::from_utf8(&without_comments(&name, &file.data)).unwrap().lines() {
                let code = line.split(" // ").next().unwrap();
                assert_eq!(code.matches('`').count() % 2, 0, "{name}: {line}");
            }
        }
    }

    #[test]
    fn the_line_in_the_page_is_the_one_that_may_run() {
        let page = Files::get(INDEX).unwrap();
        let page = str::from_utf8(&page.data).unwrap();
        let (_, line) = page.split_once("<script>").unwrap();
        let (line, _) = line.split_once("</script>").unwrap();
        let hash = BASE64_STANDARD.encode(Sha256::digest(line));
        assert!(POLICY.to_str().unwrap().contains(&format!("'sha256-{hash}'")), "{hash}");
    }
}
