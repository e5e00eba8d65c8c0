//! Sessions of a real database, ended as the task's own role and not otherwise.

use holdpoint_adapters::postgres::{CANCEL, TERMINATE};
use holdpoint_app::port::{ActedPhase, ExecuteError, Executor as _};

use super::{
    desk::Desk,
    server::{Named, Postgres, named, until},
};

fn is_refused(done: &Result<(), ExecuteError>, why: &str) {
    match done {
        Err(ExecuteError::Refused(text)) => assert!(text.contains(why), "{text}"),
        other => panic!("expected a refusal about {why}, got {other:?}"),
    }
}

#[tokio::test]
async fn inv04_exactly_the_named_session_is_ended() {
    let postgres = Postgres::start().await;
    let desk = Desk::new(&postgres);
    let executor = desk.executor();
    let victim = postgres.session("shop", "shopper", "shopper").await;
    let other = postgres.session("shop", "shopper", "shopper").await;
    let auditor = postgres.session("shop", "auditor", "auditor").await;
    let session = named(&victim).await;

    // The same process id with another start is another session (T08), and one that the operator does not list is nobody's.
    let mut epoch = 0;
    for (wanted, why) in [
        (Named { started_us: session.started_us + 1, ..session }, "no session"),
        (Named { pid: session.pid + 100_000, ..session }, "no session"),
        (named(&auditor).await, "none that the operator lets"),
        (named(&postgres.admin("shop").await).await, "session"),
    ] {
        epoch += 1;
        let ticket = desk.ticket(epoch, TERMINATE, wanted).await;
        is_refused(&executor.rehearse(ticket.work()).await, why);
        is_refused(&executor.apply(ticket.work()).await, why);
        desk.revoke(&ticket).await.unwrap();
    }
    let ticket = desk.ticket(10, TERMINATE, session).await;
    executor.rehearse(ticket.work()).await.unwrap();
    victim.run("SELECT 1").await.unwrap();
    let before = desk.observe().await;
    assert_eq!(before.acted, None);
    executor.apply(ticket.work()).await.unwrap();
    victim.run("SELECT 1").await.unwrap_err();
    for left in [&other, &auditor] {
        left.run("SELECT 1").await.unwrap();
    }
    let after = desk.observe().await;
    let acted = after.acted.unwrap();
    assert_eq!((acted.epoch, acted.phase, acted.left), (10, ActedPhase::Applied, Some(before.version)));
    assert_eq!(after.version, before.version);
    // Again under the same epoch: done; under an older one: fenced (T09).
    executor.apply(ticket.work()).await.unwrap();
    let late = desk.ticket(9, TERMINATE, named(&other).await).await;
    is_refused(&executor.apply(late.work()).await, "epoch");
    other.run("SELECT 1").await.unwrap();
    is_refused(&executor.undo(ticket.work(), &before.version).await, "nothing brings a session back");
    for ticket in [&ticket, &late] {
        desk.revoke(ticket).await.unwrap();
    }
    // inv08: without its lease the executor reaches nothing.
    let dead = desk.ticket(11, TERMINATE, named(&other).await).await;
    desk.revoke(&dead).await.unwrap();
    assert!(matches!(executor.apply(dead.work()).await, Err(ExecuteError::NotDone(_))));
    other.run("SELECT 1").await.unwrap();
}

#[tokio::test]
async fn inv04_a_cancelled_session_goes_on_and_its_statement_does_not() {
    let postgres = Postgres::start().await;
    let desk = Desk::new(&postgres);
    let executor = desk.executor();
    let victim = postgres.session("shop", "shopper", "shopper").await;
    let session = named(&victim).await;
    let idle = desk.ticket(1, CANCEL, session).await;
    is_refused(&executor.apply(idle.work()).await, "does nothing");
    desk.revoke(&idle).await.unwrap();

    let ticket = desk.ticket(2, CANCEL, session).await;
    let sleeping = async { victim.run("SELECT pg_sleep(4)").await };
    let admin = postgres.admin("shop").await;
    let cancelling = async {
        let busy = format!("SELECT holdpoint.look({}, {})", session.pid, session.started_us);
        until("it sleeps", async || (admin.word(&busy).await.unwrap() == "busy").then_some(())).await;
        executor.apply(ticket.work()).await
    };
    let (slept, cancelled) = tokio::join!(sleeping, cancelling);
    cancelled.unwrap();
    assert!(slept.unwrap_err().to_string().contains("57014"));
    victim.run("SELECT 1").await.unwrap();
    // A lease to cancel is none to end.
    let (user, password) = ticket.login();
    let holder = postgres.session("shop", &user, &password).await;
    let end = format!("SELECT holdpoint.terminate_backend({}, {})", session.pid, session.started_us);
    holder.run(&end).await.unwrap_err();
    drop(holder);
    desk.revoke(&ticket).await.unwrap();
}
