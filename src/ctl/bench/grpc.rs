//! A gRPC client with as little between request and socket as can be: hyper's HTTP/2, one message each way.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderValue, Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;

/// One connection; clones share it.
#[derive(Clone)]
pub(super) struct Connection {
    send: SendRequest<Full<Bytes>>,
    authority: String,
}

impl Connection {
    /// Connects to `host:port`; the connection's own work is done by a task of this runtime.
    pub(super) async fn open(host: &str, port: u16) -> Result<Connection, String> {
        let stream = crate::client::dial(host, port, std::time::Duration::from_secs(5))
            .await
            .map_err(|error| error.to_string())?;
        let (send, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(16 << 20)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        // Its end shows in the requests that are on it.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Connection { send, authority: format!("{host}:{port}") })
    }

    pub(super) fn method(&self, path: &str) -> Result<Method, String> {
        let uri = format!("http://{}{path}", self.authority).parse().map_err(|error| format!("{error}"))?;
        Ok(Method { send: self.send.clone(), uri })
    }
}

/// One RPC on one connection.
#[derive(Clone)]
pub(super) struct Method {
    send: SendRequest<Full<Bytes>>,
    uri: Uri,
}

impl Method {
    /// Sends a framed message and waits for the whole answer. The error is etcd's text.
    pub(super) async fn call(&mut self, framed: Bytes) -> Result<(), String> {
        self.send.ready().await.map_err(|error| error.to_string())?;
        let mut request = Request::new(Full::new(framed));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(http::header::TE, HeaderValue::from_static("trailers"));
        let answer = self.send.send_request(request).await.map_err(|error| error.to_string())?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.map_err(|error| error.to_string())?;
        let trailers = body.trailers().unwrap_or(&head.headers);
        match trailers.get("grpc-status").map(HeaderValue::as_bytes) {
            Some(b"0") => Ok(()),
            code => {
                let code = String::from_utf8_lossy(code.unwrap_or(b"none")).into_owned();
                let text = trailers.get("grpc-message").map_or(&b""[..], HeaderValue::as_bytes);
                Err(format!("code {code}: {}", String::from_utf8_lossy(text)))
            }
        }
    }
}

/// A message behind its five bytes of frame.
pub(super) fn frame(message: &impl Message) -> Bytes {
    let size = message.encoded_len();
    let mut out = BytesMut::with_capacity(size + 5);
    out.put_u8(0);
    out.put_u32(u32::try_from(size).expect("a benchmark's message is far below 4 GiB"));
    message.encode(&mut out).expect("the buffer grows as needed");
    out.freeze()
}
