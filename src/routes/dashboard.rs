//! `GET /`, the dashboard: the files of `src/dashboard`, as they are. A debug build reads them from there each time, so that what was
//! changed shows at the next reload; any other build has them inside.
//!
//! The page is anybody's: it holds nothing, and asks for what it shows as everybody does.

use rust_embed::{EmbeddedFile, RustEmbed};
use warp::filters::BoxedFilter;
use warp::filters::path::{FullPath, Tail};
use warp::http::StatusCode;
use warp::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, LOCATION,
};
use warp::{Filter, Rejection, Reply};

use crate::reply::{self, HttpResponse};

#[derive(RustEmbed)]
#[folder = "src/dashboard"]
struct Files;

/// The page itself.
const INDEX: &str = "index.html";

/// What the page may do: run its own scripts, ask its own server, and nothing of what a text could talk it into.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'",
);

/// One of the files, with its name.
type Named = (String, EmbeddedFile);

pub(crate) fn files() -> BoxedFilter<(HttpResponse,)> {
    let file = warp::path::tail().and_then(async |path: Tail| find(path.as_str())).boxed();
    let method = warp::get().or(warp::head()).unify();
    let request = warp::path::full().and(warp::header::headers_cloned());
    let read = file.clone().and(method).and(request).map(
        |(name, file): Named, path: FullPath, headers: HeaderMap| {
            // What the page asks for beside itself would be beside a path that does not end in a slash.
            if name == INDEX && !path.as_str().ends_with('/') {
                return move_to_folder(path.as_str());
            }
            show(&name, &file, &headers)
        },
    );
    let wrong = file.map(|_| reply::method_not_allowed("GET, HEAD"));
    read.or(wrong).unify().boxed()
}

/// The file of a path. Any other path is not the dashboard's.
fn find(path: &str) -> Result<Named, Rejection> {
    let name = match path {
        "" => Some(INDEX),
        // It has the one address.
        INDEX => None,
        other => Some(other),
    };
    let found = name.and_then(|name| Some((name.to_owned(), Files::get(name)?)));
    found.ok_or_else(warp::reject::not_found)
}

/// A file, unless the browser has it: it may keep it, and asks each time whether it is still good.
fn show(name: &str, file: &EmbeddedFile, headers: &HeaderMap) -> HttpResponse {
    let hash = const_hex::encode(file.metadata.sha256_hash());
    let tag = HeaderValue::try_from(format!("\"{hash}\"")).expect("hexadecimal digits");
    let is_known = headers.get(IF_NONE_MATCH) == Some(&tag);
    let (status, body) = if is_known {
        (StatusCode::NOT_MODIFIED, Vec::new())
    } else {
        (StatusCode::OK, file.data.to_vec())
    };
    let mut answer = reply::with_type(status, media_type(name), body);
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(ETAG, tag);
    answer
}

/// To the same path with a slash behind it, whatever stands before it outside.
fn move_to_folder(path: &str) -> HttpResponse {
    let last = path.rsplit('/').next().unwrap_or_default();
    let mut answer = StatusCode::PERMANENT_REDIRECT.into_response();
    match HeaderValue::try_from(format!("./{last}/")) {
        Ok(folder) => {
            answer.headers_mut().insert(LOCATION, folder);
            answer
        }
        Err(_) => reply::not_found(),
    }
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
    use super::*;

    #[test]
    fn every_file_has_a_type() {
        for name in Files::iter() {
            assert_ne!(media_type(&name), "application/octet-stream", "{name}");
        }
        assert!(Files::get(INDEX).is_some());
    }
}
