//! The dashboard's files, as a browser asks for them. What the page does with them is tested in a browser.

use async_compression::tokio::bufread::GzipDecoder;
use telemetry_hub::HubService;
use telemetry_hub::actors::{HubConfig, HubHandle};

use tokio::io::AsyncReadExt;

use crate::harness::TestServer;

#[tokio::test]
async fn the_page_and_all_that_it_names_is_there() {
    let server = TestServer::start().await;
    let page = server.get("/").await;
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let page = page.text().await.unwrap();
    let mut left: Vec<String> = references(&page, &["src=\"", "href=\""]);
    assert!(left.len() > 4, "{left:?}");
    let mut seen = Vec::new();
    while let Some(path) = left.pop() {
        if seen.contains(&path) {
            continue;
        }
        let file = server.get(&format!("/{path}")).await;
        assert_eq!(file.status(), 200, "{path}");
        assert_eq!(file.headers()["x-content-type-options"], "nosniff");
        let text = file.text().await.unwrap();
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        left.extend(references(&text, &[" from '"]).iter().map(|import| resolve(folder, import)));
        seen.push(path);
    }
    assert!(seen.iter().any(|path| path == "connection.js"), "{seen:?}");
}

/// What stands in quotes behind one of these, but for the page's own fragments.
fn references(text: &str, marks: &[&str]) -> Vec<String> {
    let of = |mark: &&str| {
        let quote = mark.chars().last().unwrap();
        let quoted = text.split(*mark).skip(1).filter_map(move |rest| rest.split(quote).next());
        quoted.filter(|path| !path.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
    };
    marks.iter().flat_map(of).collect()
}

/// An import, seen from a folder that is one deep at most.
fn resolve(folder: &str, import: &str) -> String {
    match (import.strip_prefix("../"), import.strip_prefix("./")) {
        (Some(above), _) => above.to_owned(),
        (None, Some(beside)) if folder.is_empty() => beside.to_owned(),
        (None, Some(beside)) => format!("{folder}/{beside}"),
        (None, None) => panic!("{import} is no relative import"),
    }
}

#[tokio::test]
async fn a_browser_that_has_a_file_is_told_so() {
    let server = TestServer::start().await;
    let first = server.get("/app.js").await;
    let tag = first.headers()["etag"].to_str().unwrap().to_owned();
    for (known, status) in [
        (tag.clone(), 304),
        (format!("\"x\", W/{tag}"), 304),
        (tag.replace('"', ""), 200),
        ("\"x\"".to_owned(), 200),
    ] {
        let again = server.client.get(format!("{}/app.js", server.base));
        let again = again.header("if-none-match", &known).send().await.unwrap();
        assert_eq!(again.status(), status, "{known}");
        assert_eq!(again.bytes().await.unwrap().is_empty(), status == 304);
    }
}

#[tokio::test]
async fn a_browser_gets_it_compressed() {
    let server = TestServer::start().await;
    let request = server.client.get(format!("{}/app.js", server.base));
    let answer = request.header("accept-encoding", "gzip, deflate, br, zstd").send().await.unwrap();
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    let compressed = answer.bytes().await.unwrap();
    let mut text = String::new();
    GzipDecoder::new(&compressed[..]).read_to_string(&mut text).await.unwrap();
    // Line by line what it is, but for comments.
    let whole = server.get("/app.js").await.text().await.unwrap();
    assert!(text.contains("import { address }") && !text.contains("// "), "{text}");
    assert_eq!(text.lines().count(), whole.lines().count());
    assert!(text.lines().zip(whole.lines()).all(|(sent, line)| sent.is_empty() || sent == line));
}

#[tokio::test]
async fn a_host_has_it_where_it_puts_it() {
    let hub = HubHandle::start(HubConfig::default()).await.unwrap();
    let app = axum::Router::new().nest_service("/ops/telemetry", HubService::new(&hub));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async { axum::serve(listener, app).await });
    for path in ["", "/", "/app.js", "/live/view.js"] {
        let answer = reqwest::get(format!("http://{address}/ops/telemetry{path}")).await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
    }
    serving.abort();
}
