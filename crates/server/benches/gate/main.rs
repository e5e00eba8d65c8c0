//! The full gated decision over HTTP, beside servers that do nothing, in one run.
//!
//! `POST /v1/evaluations` of the real `holdpoint serve`: the caller authenticated, policies by the thousand of which equally
//! many concern each request, the blast radius over an inventory of six thousand services, and the durable record before
//! the answer. Beside it an axum server that says hello and one that parses and answers JSON. What is measured from outside:
//! answers a second, the median wait, and the server's own CPU time.
//!
//! `cargo xtask bench` runs it and makes the table of docs/performance.md from what it prints: a key and a value on each line.
//! `--records N` says how full the log is for the last part (1,000,000), `--seconds N` how long each measurement takes (4).
#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a benchmark prints, and stops when it breaks"
)]

mod folder;
mod load;
mod peers;
mod process;

use std::time::{Duration, Instant};

use folder::{Folder, NEW_QUESTIONS, QUESTIONS};
use load::{Load, Run};
use process::Server;

const CONNECTIONS: [usize; 4] = [1, 16, 64, 256];
const POLICIES: [usize; 3] = [100, 1_000, 10_000];
/// Where most is measured.
const USUAL: usize = 1_000;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|word| word == "--peer") {
        return peers::serve(arguments[at + 1].parse().unwrap());
    }
    let number = |name: &str, otherwise: usize| {
        let at = arguments.iter().position(|word| word == name);
        at.map_or(otherwise, |at| arguments[at + 1].parse().unwrap())
    };
    let (records, seconds) = (number("--records", 1_000_000), number("--seconds", 4));
    let time = Duration::from_secs(seconds as u64);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(bench(time, records));
}

async fn bench(time: Duration, records: usize) {
    let peer = Server::peer();
    let folders: Vec<_> = POLICIES.iter().map(|policies| (*policies, Folder::new(*policies))).collect();
    let mut gates: Vec<_> =
        folders.iter().map(|(policies, folder)| (*policies, folder, folder.serve())).collect();
    // Everybody once, so that nothing is measured for the first time.
    for (_, folder, gate) in &gates {
        let warm = Load::gate(gate, folder, QUESTIONS).run(64, Duration::from_secs(1)).await;
        warm.expect_allows();
    }
    for connections in CONNECTIONS {
        report("hello", connections, &Load::hello(&peer).run(connections, time).await);
        report("echo", connections, &Load::echo(&peer).run(connections, time).await);
        for (policies, folder, gate) in &gates {
            if *policies == USUAL || connections == 1 || connections == 64 {
                let run = Load::gate(gate, folder, QUESTIONS).run(connections, time).await;
                run.expect_allows();
                report(&format!("gate_{policies}"), connections, &run);
            }
        }
    }
    let at = gates.iter().position(|(policies, ..)| *policies == USUAL).unwrap();
    let (_, folder, gate) = gates.swap_remove(at);
    drop(gates);
    // Last, for it drives out what the gate remembers of the usual questions.
    for connections in CONNECTIONS {
        let run = Load::gate(&gate, folder, NEW_QUESTIONS).run(connections, time).await;
        run.expect_allows();
        report("gate_new", connections, &run);
    }
    fill(folder, gate, records).await;
}

/// Fills the log by asking, then looks at the memory of the gate and at how long it takes to start again.
async fn fill(folder: &Folder, gate: Server, records: usize) {
    let mut size = folder.log_size(&gate).await;
    while size < records {
        Load::gate(&gate, folder, QUESTIONS).run(256, Duration::from_secs(5)).await.expect_allows();
        size = folder.log_size(&gate).await;
    }
    println!("full_records {size}");
    println!("full_rss_mib {:.0}", gate.memory_mib());
    drop(gate);
    let began = Instant::now();
    let gate = folder.serve();
    println!("full_start_s {:.2}", began.elapsed().as_secs_f64());
    println!("full_start_cpu_s {:.2}", gate.cpu().as_secs_f64());
    println!("full_start_rss_mib {:.0}", gate.memory_mib());
}

fn report(what: &str, connections: usize, run: &Run) {
    println!("{what}_rps_{connections} {:.0}", run.per_second());
    println!("{what}_p50_us_{connections} {:.0}", run.wait(0.5));
    println!("{what}_p99_us_{connections} {:.0}", run.wait(0.99));
    println!("{what}_cpu_us_{connections} {:.1}", run.cpu_us());
    println!("{what}_allow_percent_{connections} {:.1}", run.allow_percent());
}
