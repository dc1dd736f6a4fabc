//! The demonstration's whole story, on whichever DynamoDB the tests are run (docs/stores.md).

use local::demo;
use tests::World;

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_story_goes_as_expected() {
    let mut told = Vec::new();
    let result = demo::play(World::options(), &mut |line| told.push(line.to_owned())).await;
    assert!(result.is_ok(), "{result:?} after\n{}", told.join("\n"));
}
