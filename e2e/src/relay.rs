//! A stretch of network between two programs, which can be cut and can go silent.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// How often a silent connection looks whether it may go on.
const LOOK: Duration = Duration::from_millis(10);

/// Connections to a port of its own go on to another. It ends with the program.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    silent: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
    made: AtomicUsize,
}

impl State {
    fn open(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries bytes from one end to the other, until either is closed.
    fn carry(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut bytes = vec![0; 64 << 10];
        while let Ok(count) = from.read(&mut bytes) {
            while self.silent.load(Ordering::Relaxed) {
                thread::sleep(LOOK);
            }
            if count == 0 || to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        for end in [from, to] {
            // It may be closed already.
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

impl Relay {
    /// A relay to this address on loopback.
    ///
    /// # Errors
    /// Where no port is to be had.
    pub fn start(to: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("no port for a relay")?;
        let (address, state) = (listener.local_addr()?, Arc::new(State::default()));
        let of_thread = Arc::clone(&state);
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                // Whoever asks sees that there is nobody.
                let _ = connect(near, to, &of_thread);
            }
        });
        Ok(Self { address, state })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.state.made.load(Ordering::Relaxed)
    }

    /// Cuts all connections that are open; new ones are made as before.
    pub fn cut(&self) {
        for end in self.state.open().drain(..) {
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    /// Whether everything is held back from now on, without anybody being told.
    pub fn silence(&self, on: bool) {
        self.state.silent.store(on, Ordering::Relaxed);
    }
}

fn connect(near: TcpStream, to: SocketAddr, state: &Arc<State>) -> io::Result<()> {
    let far = TcpStream::connect(to)?;
    state.made.fetch_add(1, Ordering::Relaxed);
    state.open().extend([near.try_clone()?, far.try_clone()?]);
    for (from, to) in [(near.try_clone()?, far.try_clone()?), (far, near)] {
        let state = Arc::clone(state);
        thread::spawn(move || state.carry(from, to));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_arrives_until_it_is_cut_or_silent() {
        let echo = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let to = echo.local_addr().unwrap();
        thread::spawn(move || {
            for stream in echo.incoming().flatten() {
                thread::spawn(move || io::copy(&mut &stream, &mut &stream));
            }
        });
        let relay = Relay::start(to).unwrap();
        let dial = || {
            let stream = TcpStream::connect(relay.address()).unwrap();
            stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            stream
        };
        let said = |mut stream: &TcpStream, what: u8| {
            stream.write_all(&[what])?;
            let mut answer = [0];
            stream.read_exact(&mut answer).map(|()| answer[0])
        };
        let stream = dial();
        assert_eq!(said(&stream, 1).unwrap(), 1);
        relay.silence(true);
        said(&stream, 2).unwrap_err();
        relay.silence(false);
        let mut late = [0];
        (&stream).read_exact(&mut late).unwrap();
        assert_eq!(late, [2], "it was late, and not lost");
        relay.cut();
        said(&stream, 3).unwrap_err();
        assert_eq!(said(&dial(), 4).unwrap(), 4);
        assert_eq!(relay.connections(), 2);
    }
}
