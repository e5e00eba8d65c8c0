//! A shop's checkout: keeps carts in memory, sends work through the balancer, makes offers, pays, and leaks memory when it is
//! told to.

use std::{
    fs::OpenOptions,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::{
    offers::Offers,
    token::Token,
    wire::{Answer, Handler, Request, get},
};

/// What one leak takes: well above what is normal here, and little for the machine.
const LEAK_BYTES: usize = 96 * 1024 * 1024;
/// How often it can leak; a demo has no use for more.
const MAX_LEAKS: usize = 2;
/// How long the balancer may take.
const WORK_LIMIT: Duration = Duration::from_secs(2);
/// Longest line of the log.
const MAX_LINE: usize = 1000;

#[derive(Default)]
struct Memory {
    carts: u64,
    leaked: Vec<Vec<u8>>,
}

/// A checkout.
struct Checkout {
    balancer: SocketAddr,
    memory: Mutex<Memory>,
    offers: Offers,
    token: Token,
    log: PathBuf,
}

/// A checkout that sends its work to `balancer` and its bills to `payments`, with its files in the folder `shop`.
pub(super) fn handler(balancer: SocketAddr, payments: SocketAddr, shop: &Path) -> Handler {
    let checkout = Checkout {
        balancer,
        memory: Mutex::default(),
        offers: Offers::new(shop),
        token: Token::new(payments, shop.join("payments.token")),
        log: shop.join("checkout.log"),
    };
    std::sync::Arc::new(move |request| checkout.answer(request))
}

impl Checkout {
    fn answer(&self, request: &Request) -> Answer {
        match request.what() {
            ("GET", "/buy") => buy(self.balancer),
            ("GET", "/healthz") => Answer::ok("ok\n"),
            ("GET", "/pay") => self.token.pay(),
            ("GET", "/token-id") => self.token.id(),
            ("GET", "/offers") => {
                let (answer, line) = self.offers.answer();
                line.iter().for_each(|line| self.log(line));
                answer
            }
            ("GET", "/search") => {
                // Whatever a visitor looks for stands in the log as it came, but for what would end the line.
                self.log(&format!("search: nothing found for {}", searched(&request.query)));
                Answer::ok("nothing found\n")
            }
            what => {
                let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
                with_memory(&mut memory, what, &self.offers)
            }
        }
    }

    fn log(&self, line: &str) {
        let line: String = line.chars().filter(|c| !c.is_control()).take(MAX_LINE).collect();
        let file = OpenOptions::new().create(true).append(true).open(&self.log);
        // A log that cannot be written is no reason not to serve.
        let _ = file.and_then(|mut file| writeln!(file, "{line}"));
    }
}

fn buy(balancer: SocketAddr) -> Answer {
    match get(balancer, "/work", WORK_LIMIT) {
        Ok((200, body)) => Answer::ok(body),
        Ok((status, _)) => Answer::unavailable(format!("the balancer answered {status}\n")),
        Err(err) => Answer::unavailable(format!("the balancer did not answer: {err}\n")),
    }
}

fn with_memory(memory: &mut Memory, what: (&str, &str), offers: &Offers) -> Answer {
    match what {
        ("POST", "/carts") => {
            memory.carts = memory.carts.saturating_add(1);
            Answer::ok(format!("{}\n", memory.carts))
        }
        ("GET", "/carts") => Answer::ok(format!("{}\n", memory.carts)),
        ("POST", "/leak") if memory.leaked.len() < MAX_LEAKS => {
            // Ones, not zeros: memory that nobody has written to is not resident.
            memory.leaked.push(vec![1; LEAK_BYTES]);
            Answer { status: 202, body: format!("leaked {LEAK_BYTES} bytes\n") }
        }
        ("POST", "/leak") => Answer::unavailable("leaked enough\n"),
        ("GET", "/metrics") => Answer::ok(format!(
            "# HELP demo_carts Carts in memory.\n# TYPE demo_carts gauge\ndemo_carts {}\n{}{}",
            memory.carts,
            offers.metric(),
            super::memory_metric()
        )),
        _ => Answer::not_found(),
    }
}

/// What was searched for: the value of `q`, decoded as a form is.
fn searched(query: &str) -> String {
    let value = query.split('&').find_map(|field| field.strip_prefix("q=")).unwrap_or_default();
    let mut bytes = Vec::new();
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next(), rest.next()].map(|digit| {
                    digit
                        .and_then(|digit| char::from(digit).to_digit(16))
                        .and_then(|digit| u8::try_from(digit).ok())
                });
                let [Some(high), Some(low)] = digits else { continue };
                (high << 4) | low
            }
            plain => plain,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_searched_for_is_decoded_as_a_form_is() {
        assert_eq!(searched("a=1&q=red+shoes%2C+size%2040%21"), "red shoes, size 40!");
        for (query, found) in [("", ""), ("q=", ""), ("q=%zz+x%", " x")] {
            assert_eq!(searched(query), found, "{query}");
        }
    }
}
