//! As much of an HTTP server as the SDK needs: one thread for each connection, bodies of a stated length.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result, bail};

use super::moto::Moto;

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Its first line and headers as they came, each with its end.
    pub(crate) head: Vec<String>,
    pub(crate) path: String,
    pub(crate) body: String,
}

impl Request {
    /// A header's value, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.iter().skip(1).filter_map(|line| line.split_once(':'));
        fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }
}

/// What is sent back.
#[derive(Clone, Debug)]
pub(crate) enum Response {
    /// A status, a kind of content and a body.
    Whole(u16, &'static str, String),
    /// Nothing: the connection is closed.
    Nothing,
}

/// Serves on a free port until the process ends; gives the address.
pub(crate) fn serve(handler: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port of loopback is free")?;
    let address = listener.local_addr()?.to_string();
    let handler = Arc::new(handler);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let handler = Arc::clone(&handler);
            // A client that leaves in the middle is no matter.
            thread::spawn(move || drop(connection(&stream, handler.as_ref())));
        }
    });
    Ok(address)
}

fn connection(stream: &TcpStream, handler: &dyn Fn(&Request) -> Response) -> Result<()> {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    while let Some(request) = read(&mut reader)? {
        let Response::Whole(status, kind, body) = handler(&request) else { return Ok(()) };
        let length = body.len();
        write!(
            writer,
            "HTTP/1.1 {status} -\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
    }
    Ok(())
}

/// The next message; none at the end.
fn read(from: &mut impl BufRead) -> Result<Option<Request>> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line == "\r\n" {
            break;
        }
        head.push(line);
    }
    let path = head.first().and_then(|first| first.split(' ').nth(1)).unwrap_or_default().to_owned();
    let mut request = Request { head, path, body: String::new() };
    let length = request.header("content-length").map_or(Ok(0), str::parse)?;
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    request.body = String::from_utf8(body)?;
    Ok(Some(request))
}

/// The body of the next request; none at the end.
pub(crate) fn read_request(from: &mut impl BufRead) -> Result<Option<String>> {
    Ok(read(from)?.map(|request| request.body))
}

/// Sends a request with another body on to a server at `port`, and gives what that says.
pub(crate) fn forward(request: &Request, body: &str, port: u16) -> Result<String> {
    match relay(request, body, port)? {
        (200, answer) => Ok(answer),
        (status, answer) => bail!("moto answers {status} {answer} to {body}"),
    }
}

/// Like [`forward`], with the status: what is refused is an answer, too.
pub(crate) fn relay(request: &Request, body: &str, port: u16) -> Result<(u16, String)> {
    let of_queues = request.header("x-amz-target").is_some_and(|target| target.starts_with("AmazonSQS."));
    let _turn = if of_queues { Moto::turn_of_queues() } else { Moto::turn() };
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    let dropped = ["content-length", "connection", "host", "expect"];
    let mut message = String::new();
    for (at, line) in request.head.iter().enumerate() {
        let name = line.split(':').next().unwrap_or_default();
        if at == 0 || !dropped.iter().any(|field| name.eq_ignore_ascii_case(field)) {
            message.push_str(line);
        }
    }
    let length = body.len();
    let rest = [
        "Host: 127.0.0.1:",
        &port.to_string(),
        "\r\nConnection: close\r\nContent-Length: ",
        &length.to_string(),
    ];
    message += &rest.concat();
    message += "\r\n\r\n";
    message += body;
    stream.write_all(message.as_bytes())?;
    let answer = read(&mut BufReader::new(stream))?.context("moto gives no answer")?;
    // Of an answer, what stands in the place of a path is the status.
    Ok((answer.path.parse()?, answer.body))
}
