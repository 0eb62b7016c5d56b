//! Figures as a Markdown table.

use super::race::Row;

/// Prints a table: every row's times, and how they compare with those of the rows numbered in `yardsticks`.
pub(crate) fn print(title: &str, rows: &[Row<'_>], yardsticks: &[usize]) {
    let against = |number: &usize| format!(" ÷ {} |", rows[*number].0);
    println!("\n### {title}, µs, {} rounds\n", rows[0].1.len());
    println!("| | min | p50 | p90 |{}", yardsticks.iter().map(against).collect::<String>());
    println!("|---|--:|--:|--:|{}", "--:|".repeat(yardsticks.len()));
    for (number, (name, times)) in rows.iter().enumerate() {
        let ratio = |yardstick: &usize| format!(" {:.3} |", ratio(rows, number, *yardstick));
        let ratios: String = yardsticks.iter().map(ratio).collect();
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        let [min, p50, p90] = [0, 50, 90].map(|percent| grouped(at(&sorted, percent).as_micros()));
        println!("| {name} | {min} | {p50} | {p90} |{ratios}");
    }
}

/// How one row compares with another: the median of the ratios within each round. A machine that becomes slower for some
/// rounds makes both slower.
pub(crate) fn ratio(rows: &[Row<'_>], row: usize, yardstick: usize) -> f64 {
    let pairs = rows[row].1.iter().zip(rows[yardstick].1);
    let mut ratios: Vec<f64> = pairs.map(|(one, other)| one.as_secs_f64() / other.as_secs_f64()).collect();
    ratios.sort_unstable_by(f64::total_cmp);
    at(&ratios, 50)
}

fn at<T: Copy>(sorted: &[T], percent: usize) -> T {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

/// A number with its thousands apart.
fn grouped(number: u128) -> String {
    match number {
        0..1000 => number.to_string(),
        1000.. => format!("{},{:03}", grouped(number / 1000), number % 1000),
    }
}
