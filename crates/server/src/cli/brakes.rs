//! `holdpoint brakes`: what holds plans back now, until when, and who lifts it.

use clap::Args;

use crate::{http::wire::BrakesInForce, moment::clock_time};

use super::{
    CliError, Door,
    client::Client,
    output::{Cell, Print, Table, read},
};

#[derive(Debug, Args)]
pub(crate) struct BrakesOptions {
    #[command(flatten)]
    door: Door,
    #[command(flatten)]
    print: Print,
}

/// Lists what holds plans back.
pub(crate) async fn run(options: BrakesOptions) -> Result<(), CliError> {
    let answer = Client::connect(&options.door)?.get("/v1/brakes").await?;
    if options.print.data(&answer)? {
        return Ok(());
    }
    let BrakesInForce { brakes } = read(&answer)?;
    let mut table = Table::new(["RULE", "DOES", "WHAT", "PLAN", "UNTIL", "LIFTED BY"]);
    for brake in brakes {
        table.row(vec![
            Cell::new(&brake.rule),
            Cell::new(if brake.denies { "denies" } else { "asks for a person" }),
            Cell::new(&brake.fact),
            Cell::maybe(brake.plan.as_ref()),
            Cell::maybe(brake.until_ms.map(clock_time)),
            Cell::new(&brake.lifted_by),
        ]);
    }
    table.print(
        options.print.paint(),
        "nothing holds plans back; error budgets are measured when something is decided",
    );
    Ok(())
}
