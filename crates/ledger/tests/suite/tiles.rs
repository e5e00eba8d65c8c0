//! Paths and bytes of tiles.

use holdpoint_ledger::tile::{bundle_paths, decode_tile, encode_tile, tile_paths};
use holdpoint_ledger::{TileError, TileKind, TilePath};
use proptest::prelude::*;

use super::support::{data_lines, leaf};

#[test]
fn path_vectors() {
    for words in data_lines(include_str!("../data/tile_paths.txt")) {
        let path = words[1].replace("\\n", "\n");
        let parsed = path.parse::<TilePath>();
        match words[0] {
            "ok" => assert_eq!(parsed.map(|parsed| parsed.to_string()).as_deref(), Ok(path.as_str())),
            _ => assert!(parsed.is_err(), "{path:?} was read as {parsed:?}"),
        }
    }
}

#[test]
fn path_of_the_specification() {
    let path: TilePath = "tile/3/x001/x234/067.p/8".parse().unwrap();
    assert_eq!(path, TilePath::hashes(3, 1_234_067, 8).unwrap());
    assert_eq!((path.kind(), path.index(), path.width()), (TileKind::Hashes { level: 3 }, 1_234_067, 8));
    assert_eq!(TilePath::entries(1_234_067, 256).unwrap().to_string(), "tile/entries/x001/x234/067");
    assert_eq!(TilePath::hashes(64, 0, 1), Err(TileError::Level { got: 64 }));
    assert_eq!(TilePath::entries(0, 0), Err(TileError::Width { got: 0 }));
    assert_eq!(TilePath::entries(0, 257), Err(TileError::Width { got: 257 }));
}

proptest! {
    #[test]
    fn paths_round_trip(level in 0_u8..=63, index: u64, width in 1_u16..=256) {
        for path in [TilePath::hashes(level, index, width), TilePath::entries(index, width)] {
            let path = path.unwrap();
            prop_assert_eq!(path.to_string().parse(), Ok(path));
        }
    }

    #[test]
    fn whatever_is_read_is_written_the_same(text in "tile/[0-9e]{1,2}/(x[0-9]{3}/){0,2}[0-9]{2,4}(.p/[0-9]{1,3})?") {
        if let Ok(path) = text.parse::<TilePath>() {
            prop_assert_eq!(path.to_string(), text);
        }
    }
}

#[test]
fn tiles_of_the_sizes_in_the_specification() {
    let tiles: Vec<String> = tile_paths(70_000).map(|path| path.to_string()).collect();
    assert_eq!(tiles.len(), 273 + 1 + 1 + 1 + 1);
    assert_eq!(
        tiles[272..],
        ["tile/0/272", "tile/0/273.p/112", "tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1"]
    );

    let tiles: Vec<String> = tile_paths(256).map(|path| path.to_string()).collect();
    assert_eq!(tiles, ["tile/0/000", "tile/1/000.p/1"]);
    assert_eq!(tile_paths(0).count() + bundle_paths(0).count(), 0);

    let bundles: Vec<String> = bundle_paths(513).map(|path| path.to_string()).collect();
    assert_eq!(bundles, ["tile/entries/000", "tile/entries/001", "tile/entries/002.p/1"]);
}

#[test]
fn tile_bytes_must_have_the_width() {
    let hashes: Vec<_> = (0..3).map(leaf).collect();
    let bytes = encode_tile(&hashes);
    assert_eq!(decode_tile(&bytes, 3), Ok(hashes));
    assert_eq!(decode_tile(&bytes, 2), Err(TileError::Length { expected: 64, got: 96 }));
    assert_eq!(decode_tile(&bytes[..95], 3), Err(TileError::Length { expected: 96, got: 95 }));
}
