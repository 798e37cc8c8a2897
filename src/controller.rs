//! x
/// x
#[derive(clap::Args, Debug)]
pub struct Options {}
/// x
#[derive(Debug, thiserror::Error)]
pub enum Error {}
/// x
pub fn run(_: Options) -> Result<(), Error> { Ok(()) }
