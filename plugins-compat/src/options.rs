//! The command line.

use clap::Parser;

/// Holds Manifold's stand-alone plugins against the reference plugins. Needs root, and touches nothing but network
/// namespaces and folders of its own.
#[derive(Parser)]
#[command(name = "plugins-compat")]
pub(crate) struct Options {
    /// Only the cases whose name contains this; several are joined by "or"
    pub(crate) filter: Vec<String>,
    /// Only the cases of this plugin type
    #[arg(long, value_name = "TYPE")]
    pub(crate) plugin: Option<String>,
    /// A case that lacks something has failed, instead of being skipped
    #[arg(long)]
    pub(crate) must_run: bool,
    /// Print what was seen of each case
    #[arg(long)]
    pub(crate) sheets: bool,
}
