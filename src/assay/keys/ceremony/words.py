"""Fingerprints as words: 20 words for 160 bits, to be read aloud over a table or a telephone and typed back.

The list is the project's own: 256 words of two to four syllables, no two of them with the same first four letters or
one letter apart, so four letters of each are enough and a slip of the pen is not another word of the list.
160 bits: neither a second ceremony with the same words (2**160) nor two made to collide (2**80) can be prepared.
"""

from assay.model.digests import Sha256
from assay.model.errors import CallerError, VerificationFailed

WORD_COUNT = 20
PREFIX_CHARS = 4

_LIST = """
    acorn admiral afternoon airplane album alpine amber anchor angel apple april arena armour arrow artist atlas
    autumn avocado badger bakery balcony bamboo banjo barrel basket beacon beaver bedroom beetle blossom bonfire
    border bracelet bridge bronze buffalo butter cabin cactus camel candle canyon captain carpet cathedral cedar
    cello cement cherry chimney chocolate cinema circus clarinet clover cobalt cobra coconut coffee compass copper
    coral cottage crater cricket crystal cupboard cyclone daisy dancer denim desert diamond doctor dolphin donkey
    dragon drummer eagle eclipse elbow elephant emerald engine envelope evening fabric farmer feather fiddle finger
    flamingo flannel forest fossil fountain freckle galaxy garden garlic gazelle geyser giraffe glacier goblet
    gorilla granite guitar hamlet harbour harvest helmet hexagon hickory horizon hunter husky iceberg igloo indigo
    insect island ivory jacket jaguar jasmine jigsaw jungle juniper kangaroo kayak kitten koala lagoon lantern
    laundry lavender lemon leopard library lily linen lizard lobster locket lotus lunar magnet mammoth maple marble
    meadow mercury meteor midnight mirror mosaic muffin museum mustard napkin nectar nickel noodle nutmeg oasis
    oatmeal ocean octopus olive onion opera orbit orchid osprey oxygen palace panther parrot peanut pebble pelican
    pencil picnic pigeon pillow pirate planet plumber polar pony potato prairie pumpkin puppet pyramid quarry
    rabbit raccoon radar raven ribbon river robin rubber saddle saffron salmon sandal sapphire saturn scooter
    shadow silver skeleton spider spinach squirrel stable statue sunset swallow symbol teapot temple thunder tiger
    tomato topaz tornado tractor tulip tunnel turtle umpire unicorn valley vanilla velvet vessel village violin
    volcano voyage waffle walnut weasel whisker window winter wombat yellow yoghurt zebra zenith zodiac
"""
WORDS: tuple[str, ...] = tuple(_LIST.split())
_BY_PREFIX = {word[:PREFIX_CHARS]: word for word in WORDS}


def fingerprint_words(digest: Sha256) -> tuple[str, ...]:
    """The first 160 bits of ``digest``, one word for each byte."""
    return tuple(WORDS[byte] for byte in bytes.fromhex(digest)[:WORD_COUNT])


def render_words(words: tuple[str, ...], columns: int = 5) -> str:
    """The words as numbered lines of ``columns`` words each, for the screen and the report."""
    rows = [words[at : at + columns] for at in range(0, len(words), columns)]
    return "\n".join(
        f"{number * columns + 1:>3}  " + "  ".join(f"{word:<10}" for word in row).rstrip()
        for number, row in enumerate(rows)
    )


def parse_words(typed: str) -> tuple[str, ...]:
    """The words of ``typed``; four letters of each suffice, numbers, commas and case are ignored.

    Raises CallerError for a word that is not of the list: a slip.
    """
    entered = [word for word in typed.lower().replace(",", " ").split() if not word.isdigit()]
    unknown = [word for word in entered if _word_for(word) is None]
    if unknown:
        raise CallerError(
            "not a word of the list", rule="fingerprint-words", found=", ".join(unknown[:5]), next_step="type it again"
        )
    return tuple(word for entry in entered if (word := _word_for(entry)) is not None)


def require_typed_words(typed: str, digest: Sha256) -> None:
    """Raise unless ``typed`` is the words of ``digest``.

    CallerError for what is no list of the right length or holds an unknown word (a slip); VerificationFailed for
    words of another fingerprint (other data than the room read aloud).
    """
    entered = parse_words(typed)
    if len(entered) != WORD_COUNT:
        raise CallerError(
            "not the right number of words",
            rule="fingerprint-words",
            expected=f"{WORD_COUNT} words",
            found=str(len(entered)),
        )
    expected = fingerprint_words(digest)
    wrong = [number for number, word in enumerate(entered, 1) if word != expected[number - 1]]
    if wrong:
        raise VerificationFailed(
            "the words typed are not those of the data on the stick",
            rule="fingerprint-mismatch",
            subject="fingerprint",
            found=f"{len(wrong)} of {WORD_COUNT} words differ, the first is word {wrong[0]}",
            next_step="read the words aloud again; if they still differ, stop: the room agreed to other data",
        )


def _word_for(entered: str) -> str | None:
    word = _BY_PREFIX.get(entered[:PREFIX_CHARS])
    return word if word is not None and word.startswith(entered) else None
