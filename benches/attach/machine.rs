//! What the figures were taken on.

use std::fs;
use std::path::Path;

/// The machine and the two programs, in a few lines.
pub(crate) fn describe() -> String {
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("\t: unknown");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let linked = if cfg!(target_feature = "crt-static") { "static" } else { "dynamically linked" };
    [
        format!("Machine: {cores} cores, {}", model.trim_start_matches([' ', '\t', ':'])),
        format!("Kernel: Linux {}", read("/proc/sys/kernel/osrelease").trim()),
        format!("manifold: {} bytes, {linked}", size(env!("CARGO_BIN_EXE_manifold"))),
        format!(
            "reference: {}, macvlan {} bytes, host-local {} bytes",
            package(),
            size("/usr/lib/cni/macvlan"),
            size("/usr/lib/cni/host-local")
        ),
    ]
    .map(|line| format!("* {line}"))
    .join("\n")
}

/// The reference plugins' package and version, as the package manager has it.
fn package() -> String {
    let status = read("/var/lib/dpkg/status");
    let name = "containernetworking-plugins";
    let mut fields = status.lines().skip_while(|line| *line != format!("Package: {name}"));
    let version = fields.find_map(|line| line.strip_prefix("Version: ")).unwrap_or("unknown version");
    format!("{name} {version}")
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap()
}

fn size(path: impl AsRef<Path>) -> u64 {
    fs::metadata(path).unwrap().len()
}
