//! Servers that answer badly: each accepts on a port of its own and does one thing to every connection.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// A listener and its thread; the thread ends with the test process.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    taken: Arc<AtomicUsize>,
}

impl Server {
    /// Does `behave` to each connection, one thread each.
    pub(crate) fn start(behave: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, taken) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let (behave, count) = (Arc::new(behave), Arc::clone(&taken));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                let behave = Arc::clone(&behave);
                thread::spawn(move || behave(stream));
            }
        });
        Self { address, taken }
    }

    /// Reads the request's head, writes these bytes, and closes.
    pub(crate) fn answer(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::start(move |mut stream| {
            read_head(&mut stream);
            let _ = stream.write_all(&bytes);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        })
    }

    /// An answer of this status with a body of text.
    pub(crate) fn status(status: &str, body: &str) -> Self {
        Self::answer(format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    }

    /// Answers each request, by its head and body, with what is said of it then.
    pub(crate) fn respond(answer: impl Fn(&str, &str) -> String + Send + Sync + 'static) -> Self {
        Self::start(move |mut stream| {
            let head = String::from_utf8_lossy(&read_head(&mut stream)).into_owned();
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().unwrap())
            });
            let mut body = vec![0; length.unwrap_or(0)];
            let _ = stream.read_exact(&mut body);
            let _ = stream.write_all(answer(&head, &String::from_utf8_lossy(&body)).as_bytes());
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        })
    }

    /// Takes connections and never says a word.
    pub(crate) fn hang() -> Self {
        Self::start(|mut stream| {
            let _ = stream.read_to_end(&mut Vec::new());
        })
    }

    /// Writes the head at once, and then one byte after the other for ever.
    pub(crate) fn drip(head: &'static str) -> Self {
        Self::start(move |mut stream| {
            read_head(&mut stream);
            let mut written = stream.write_all(head.as_bytes());
            while written.is_ok() {
                written = stream.write_all(b"x");
                thread::sleep(Duration::from_millis(20));
            }
        })
    }

    /// Writes the head, and then as fast as it can for ever.
    pub(crate) fn flood(head: &'static str) -> Self {
        Self::start(move |mut stream| {
            read_head(&mut stream);
            let mut written = stream.write_all(head.as_bytes());
            let block = vec![b'#'; 64 * 1024];
            while written.is_ok() {
                written = stream.write_all(&block);
            }
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/health", self.address)
    }

    /// How many connections were taken.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }
}

/// An address that refuses connections: nobody listens there any more.
pub(crate) fn refusing() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A port of this machine whose queue is full, so that further connections wait for ever.
pub(crate) async fn full_queue() -> (tokio::net::TcpListener, Vec<TcpStream>) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let fill = move || {
        let mut waiting = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            waiting.push(stream);
            assert!(waiting.len() < 100, "the queue never fills");
        }
        waiting
    };
    (listener, tokio::task::spawn_blocking(fill).await.unwrap())
}

fn read_head(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
        head.push(byte[0]);
    }
    head
}
