//! A store that is refused stays as it is, so that whatever mends it finds everything that was there.

use motte_store::OpenError;
use motte_store::disk::SimDisk;

use crate::kit::World;
use crate::model::Random;

#[test]
fn r20_a_damaged_store_is_refused_and_not_a_byte_of_it_changes() {
    let mut world = World::new(1);
    world.open_session(0, "c");
    for number in 0..400 {
        world.publish(0, &format!("{number}{}", "x".repeat(300)), &["c"]);
        if number % 50 == 0 {
            world.commit();
        }
    }
    world.commit();
    let image = world.disk.image();
    let mut random = Random::new(4);
    let mut refused = 0;
    for _ in 0..60 {
        let at = usize::try_from(random.below(image.len() as u64)).expect("small");
        let mut damaged = image.clone();
        damaged[at] ^= 1 << random.below(8);
        let disk = SimDisk::from_image(damaged.clone());
        match World::on(disk.clone(), 1).map(|_| ()) {
            // Nothing stood there.
            Ok(()) => {}
            Err(OpenError::Corrupt { what }) => {
                assert!(!what.is_empty());
                assert!(disk.image() == damaged, "a byte changed after damage at {at}: {what}");
                refused += 1;
            }
            Err(other) => panic!("damage at {at}: {other}"),
        }
    }
    assert!(refused > 10, "{refused}");
}
