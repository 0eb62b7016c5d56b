//! Figures as a Markdown table.

use std::time::Duration;

use super::race::Row;

/// Prints a table: every row's times, and how its median compares with that of the rows numbered in `yardsticks`.
pub(crate) fn print(title: &str, rows: &[Row<'_>], yardsticks: &[usize]) {
    let against = |number: &usize| format!(" ÷ {} |", rows[*number].0);
    println!("\n### {title}, µs, {} rounds\n", rows[0].1.len());
    println!("| | min | p50 | p90 |{}", yardsticks.iter().map(against).collect::<String>());
    println!("|---|--:|--:|--:|{}", "--:|".repeat(yardsticks.len()));
    for (name, times) in rows {
        let ratio = |number: &usize| {
            format!(" {:.3} |", median(times).as_secs_f64() / median(rows[*number].1).as_secs_f64())
        };
        let ratios: String = yardsticks.iter().map(ratio).collect();
        let [min, p50, p90] = [times[0], median(times), at(times, 90)].map(|time| grouped(time.as_micros()));
        println!("| {name} | {min} | {p50} | {p90} |{ratios}");
    }
}

/// How the median of one row compares with that of another.
pub(crate) fn ratio(rows: &[Row<'_>], row: usize, yardstick: usize) -> f64 {
    median(rows[row].1).as_secs_f64() / median(rows[yardstick].1).as_secs_f64()
}

fn median(sorted: &[Duration]) -> Duration {
    at(sorted, 50)
}

fn at(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

/// A number with its thousands apart.
fn grouped(number: u128) -> String {
    match number {
        0..1000 => number.to_string(),
        1000.. => format!("{},{:03}", grouped(number / 1000), number % 1000),
    }
}
