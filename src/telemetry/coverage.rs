//! The series of stores that are made the same key by key.

use prometheus::{GaugeVec, Registry};

use super::catalogue;
use super::scrape::gauges;
use crate::watermark::Vitals;
use crate::watermark::course::Course;

pub(super) struct Coverage {
    events: GaugeVec,
    certified: GaugeVec,
    within: GaugeVec,
    delivery: GaugeVec,
    delay: GaugeVec,
    blind: GaugeVec,
    refused: [GaugeVec; 2],
    excluded: [GaugeVec; 2],
    untold: GaugeVec,
    late: GaugeVec,
}

impl Coverage {
    pub(super) fn new(registry: &Registry) -> Self {
        let of = |family| gauges(registry, family);
        Self {
            events: of(&catalogue::STORE_EVENTS),
            certified: of(&catalogue::STORE_CERTIFIED),
            within: of(&catalogue::STORE_CERTIFY_WITHIN),
            delivery: of(&catalogue::STORE_DELIVERY),
            delay: of(&catalogue::STORE_DELIVERY_DELAY),
            blind: of(&catalogue::STORE_EVENTS_BLIND),
            refused: [of(&catalogue::STORE_REFUSED), of(&catalogue::STORE_REFUSED_BYTES)],
            excluded: [of(&catalogue::STORE_EXCLUDED), of(&catalogue::STORE_EXCLUDED_BYTES)],
            untold: of(&catalogue::STORE_UNTOLD),
            late: of(&catalogue::STORE_LATE),
        }
    }

    pub(super) fn set(&self, labels: [&str; 2], course: &Course, vitals: &Vitals) {
        let set = |vec: &GaugeVec, value: Option<f64>| {
            if let Some(value) = value {
                vec.with_label_values(&labels).set(value);
            }
        };
        set(&self.events, course.events_through.map(|at| at.as_secs_f64()));
        set(&self.certified, course.certified.map(|at| at.as_secs_f64()));
        set(&self.within, vitals.certify_within.map(|d| d.as_secs_f64()));
        set(&self.delivery, vitals.delivery.map(|d| d.as_secs_f64()));
        set(&self.delay, course.delays.values().max().map(|ms| *ms as f64 / 1000.0));
        set(&self.blind, Some(f64::from(u8::from(course.blind.is_some()))));
        set(&self.untold, Some(course.untold as f64));
        set(&self.late, vitals.late.map(|late| late as f64));
        for (tallies, [items, bytes]) in [(&course.refused, &self.refused), (&course.excluded, &self.excluded)] {
            for (class, tally) in tallies {
                let labels = [labels[0], labels[1], class.as_str()];
                items.with_label_values(&labels).set(tally.items as f64);
                bytes.with_label_values(&labels).set(tally.bytes as f64);
            }
        }
    }
}
