//! What the standby can take: at the source's full write rate now, and of all traffic after a promotion (AP-10).

use super::{Place, check};
use crate::change::Finding;
use crate::stores::dynamodb::facts::{Facts, Units};
use crate::stores::dynamodb::promote::settings::{Capacity, Promoting};

/// The write units that keep up with the source and leave room to catch up: 1.3 x, rounded up.
pub(super) fn wanted(write: i64) -> i64 {
    write.saturating_mul(13).saturating_add(9) / 10
}

/// Billing mode and provisioned units, of the table and of its global indexes, which throttle the table (AP-10).
pub(super) fn capacity(place: &Place, source: &Facts, standby: &Facts, promoting: &Promoting) -> Vec<Finding> {
    if standby.on_demand {
        return vec![on_demand(place, source, standby)];
    }
    if source.on_demand {
        let what = format!(
            "it has {} provisioned write units, and the primary table is on demand: it takes more than the standby can",
            standby.units.write
        );
        return vec![place.warning(check::CAPACITY, what).to_do("put it on demand").command(to_demand(place))];
    }
    let mut found = Vec::new();
    let mut part = |name: String, source: Units, standby: Units| {
        let needed = wanted(source.write);
        let has = format!("{name} has {} write units, and the primary's {}", standby.write, source.write);
        if standby.write < source.write {
            let todo = format!("raise it to {needed} or more, or put the table on demand");
            let what = format!("{has}: at full load replication falls behind for ever");
            found.push(place.problem(check::CAPACITY, what).to_do(todo).command(to_demand(place)));
        } else if standby.write < needed {
            let what = format!("{has}: it can never catch up at full load");
            found.push(place.warning(check::CAPACITY, what).to_do(format!("raise it to {needed}, 1.3 times as much")));
        }
        let raised = match promoting.capacity {
            Capacity::OnDemand => i64::MAX,
            Capacity::AtLeast { read, .. } => read,
            Capacity::Keep => 0,
        };
        if standby.read.max(raised) < source.read {
            let what = format!(
                "{name} has {} read units, and the primary's {}: after a promotion reads are throttled",
                standby.read, source.read
            );
            let todo =
                format!("raise it, or write promote_read_capacity = {} or promote_on_demand = true", source.read);
            found.push(place.warning(check::CAPACITY, what).to_do(todo));
        }
    };
    part("it".into(), source.units, standby.units);
    for (name, index) in &standby.globals {
        let of_source = source.globals.get(name).map_or(source.units, |index| index.units);
        part(format!("its index {name}"), of_source, index.units);
    }
    if found.is_empty() {
        found.push(place.ok(
            check::CAPACITY,
            format!("{} write units are enough for {} of the primary", standby.units.write, source.units.write),
        ));
    }
    found
}

fn on_demand(place: &Place, source: &Facts, standby: &Facts) -> Finding {
    let limit = standby.ceiling.write;
    if limit == 0 {
        return place.ok(check::CAPACITY, "it is on demand");
    }
    let needed = if source.on_demand { source.ceiling.write } else { wanted(source.units.write) };
    if needed == 0 || limit < needed {
        let most = if needed == 0 { "has no limit".to_owned() } else { format!("needs {needed}") };
        let what = format!("it is on demand with a limit of {limit} write units, and the primary {most}");
        return place.warning(check::CAPACITY, what).to_do("raise or remove the limit of its on-demand throughput");
    }
    place.ok(check::CAPACITY, format!("it is on demand, up to {limit} write units"))
}

fn to_demand(place: &Place) -> String {
    place.aws("update-table", "--billing-mode PAY_PER_REQUEST")
}

/// AP-8: a standby that was never busy must grow first when all traffic comes at once.
pub(super) fn warm(place: &Place, source: &Facts, standby: &Facts) -> Finding {
    let (x, y) = (source.warm, standby.warm);
    if y.read >= x.read && y.write >= x.write {
        return place.ok(check::WARM_THROUGHPUT, "as warm as the primary");
    }
    let what = format!(
        "it takes {} reads and {} writes a second at once, and the primary {} and {}: full traffic is throttled at first",
        y.read, y.write, x.read, x.write
    );
    place
        .note(check::WARM_THROUGHPUT, what)
        .to_do("pre-warm it (it takes a while and costs once, so not at the promotion)")
        .command(place.aws(
            "update-table",
            &format!(
                "--warm-throughput ReadUnitsPerSecond={},WriteUnitsPerSecond={}",
                x.read.max(y.read),
                x.write.max(y.write)
            ),
        ))
}

pub(super) fn class(place: &Place, source: &Facts, standby: &Facts) -> Finding {
    if source.class == standby.class {
        return place.ok(check::TABLE_CLASS, standby.class.clone());
    }
    let what = format!("it is {}, and the primary {}: costs differ, nothing else", standby.class, source.class);
    place.note(check::TABLE_CLASS, what)
}
