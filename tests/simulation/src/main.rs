//! quick driver
use std::collections::BTreeMap;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let count: u64 = args.get(1).map_or(1000, |a| a.parse().unwrap());
    let from: u64 = args.get(2).map_or(0, |a| a.parse().unwrap());
    if count == 1 {
        let outcome = simulation::run(from, None, true);
        for line in outcome.trace { println!("{line}"); }
        println!("{:?}", outcome.violations);
        return;
    }
    let began = std::time::Instant::now();
    let mut seen: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut kinds: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for seed in from..from + count {
        let outcome = simulation::run(seed, None, false);
        for (k, v) in outcome.seen { *seen.entry(k).or_default() += v; }
        for v in outcome.violations {
            let k: String = v.chars().filter(|c| !c.is_ascii_digit()).take(90).collect();
            let e = kinds.entry(k).or_insert((0, seed)); e.0 += 1;
        }
    }
    println!("{:#?}\n{:#?}\n{:?}", seen, kinds, began.elapsed());
}
