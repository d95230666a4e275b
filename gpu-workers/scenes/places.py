"""The places a scene may be set in, what belongs there and where in the picture it may stand."""

from __future__ import annotations

from dataclasses import dataclass

from scenes.kinds import KINDS
from scenes.scene import Time, Weather

Band = tuple[float, float]
"""Highest and lowest place in shares of the picture's height, 0 at the top."""


@dataclass(frozen=True)
class Place:
    """One background.

    Attributes:
        name: Its key in `PLACES`.
        phrase: How a caption says it ("on the beach"); no two places share one.
        indoor: Whether it has a ceiling; indoor scenes have clear weather.
        times: The times of day it is drawn at.
        tells_time: Whether a viewer can see the time of day; where not, `times` is ("day",).
        weathers: The weathers that it is drawn in.
        ground: Where the feet of things that stand may be, or None where nothing stands.
        air: Where the centres of things that fly may be, or None where nothing flies.
        water: Where the undersides of things that swim may be, or None where there is no water.
        kinds: Names of the kinds that belong here; any other is a surprise.
    """

    name: str
    phrase: str
    indoor: bool
    times: tuple[Time, ...]
    tells_time: bool
    weathers: tuple[Weather, ...]
    ground: Band | None
    air: Band | None
    water: Band | None
    kinds: frozenset[str]


AIRBORNE: frozenset[str] = frozenset(
    {"bird", "butterfly", "bee", "airplane", "helicopter", "rocket", "parachute", "balloon", "kite"}
)
"""Kinds that fly wherever there is air to fly in."""

WATERBORNE: frozenset[str] = frozenset(
    {
        *("duck", "fish", "whale", "dolphin", "shark", "octopus", "squid", "swan", "sailboat"),
        *("ship", "canoe", "speedboat"),
    }
)
"""Kinds that swim wherever there is water to swim in."""

_ALL_TIMES: tuple[Time, ...] = ("day", "night", "dawn", "sunset")
_ALL_WEATHERS: tuple[Weather, ...] = ("clear", "rain", "snow", "fog")

_PETS = "dog,cat,rabbit,mouse,turtle,parrot,hedgehog"
_FARM_ANIMALS = "dog,cat,horse,cow,pig,sheep,rabbit,duck,chicken,mouse,goat,llama,rooster,turkey"
_INSECTS = "butterfly,bee,snail,spider,ant,ladybug"
_SEA_ANIMALS = "fish,whale,dolphin,shark,octopus,crab,turtle,lobster,squid"
_BOATS = "sailboat,ship,canoe,speedboat"
_SMALL_VEHICLES = "bicycle,motorcycle,scooter,kick scooter,skateboard"
_ROAD = "car,bus,taxi,truck,ambulance,police car,fire truck,racing car"
_FRUIT = (
    "apple,banana,strawberry,watermelon,lemon,tangerine,pear,bunch of grapes,pineapple,peach,"
    "coconut,avocado,kiwi"
)
_VEGETABLES = "carrot,tomato,ear of corn,potato,eggplant,onion,broccoli,mushroom"
_BAKERY = "pizza,cake,loaf of bread,doughnut,cupcake,pretzel,croissant,waffle,pie"
_MEALS = "hamburger,sandwich,hot dog,taco,egg,piece of cheese,cup of coffee,teapot"
_SWEETS = "ice cream,lollipop,candy,chocolate bar,box of popcorn"
_FLOWERS = "flower,sunflower,rose,tulip,hibiscus"
_BALLS = "soccer ball,basketball,tennis racket,baseball"
_INSTRUMENTS = "guitar,drum,trumpet,violin,saxophone,accordion"
_TOWN = "house,church,hospital,factory,office building,school,mosque,bank,fountain,castle"
_PARTY = "balloon,gift,candle,crown,trophy,top hat"
_CLOTHES = "top hat,boot,t-shirt,dress,backpack,umbrella"


def _place(
    name: str,
    phrase: str,
    *kinds: str,
    indoor: bool = False,
    times: tuple[Time, ...] = _ALL_TIMES,
    weathers: tuple[Weather, ...] = _ALL_WEATHERS,
    ground: Band | None = (0.7, 0.96),
    air: Band | None = (0.16, 0.42),
    water: Band | None = None,
) -> Place:
    names = frozenset(",".join(kinds).split(","))
    unknown = names - {kind.name for kind in KINDS}
    if unknown:
        raise ValueError(f"{name} lists unknown kinds: {sorted(unknown)}")
    tells_time = len(times) > 1
    shown: tuple[Weather, ...] = ("clear",) if indoor else weathers
    return Place(name, phrase, indoor, times, tells_time, shown, ground, air, water, names)


_ALL_PLACES = (
    _place(
        "park",
        "in the park",
        f"{_INSECTS},{_FLOWERS},{_BALLS},{_SMALL_VEHICLES},{_SWEETS},dog,cat,rabbit,hedgehog",
        "parrot,duck,bird,owl,swan,peacock,tree,mushroom,maple leaf,fountain,ferris wheel,kite",
        "balloon,umbrella,sandwich,hot dog,book,bouquet,watermelon,teddy bear,guitar,unicorn",
        "pretzel,apple",
    ),
    _place(
        "beach",
        "on the beach",
        f"{_BOATS},crab,lobster,turtle,flamingo,parrot,palm tree,umbrella,pineapple,coconut",
        "bucket,watermelon,ice cream,soccer ball,kite,parachute,hibiscus,dolphin,whale,shark",
        "octopus,dog,bird,camera,book,tent,chair,banana,lemon,helicopter,skateboard,squid",
        ground=(0.8, 0.96),
        air=(0.14, 0.3),
        water=(0.52, 0.62),
    ),
    _place(
        "street",
        "on the street",
        f"{_ROAD},{_SMALL_VEHICLES},{_TOWN},train,tractor,shopping cart,dog,cat,mouse,robot",
        "balloon,hot dog,pizza,bird,helicopter,airplane,ladder,backpack,umbrella,basketball,door",
        "boot,camera,pretzel,television,ferris wheel",
        ground=(0.72, 0.96),
    ),
    _place(
        "forest",
        "in the forest",
        f"{_INSECTS},bear,owl,tiger,monkey,frog,mouse,snake,panda,koala,fox,raccoon,hedgehog,deer",
        "rabbit,gorilla,peacock,parrot,bird,unicorn,dinosaur,mushroom,tree,pine tree,maple leaf",
        "tent,house,bicycle,rose,turkey,elephant,backpack,strawberry,camera,castle,turtle",
    ),
    _place(
        "desert",
        "in the desert",
        "camel,snake,zebra,giraffe,elephant,hippo,rhino,kangaroo,llama,ant,spider,dinosaur,tiger",
        "cactus,palm tree,volcano,tent,mosque,truck,motorcycle,racing car,helicopter,airplane",
        "rocket,balloon,umbrella,boot,telescope,robot,crocodile,backpack,coconut,goat,turtle",
        weathers=("clear", "fog"),
    ),
    _place(
        "mountains",
        "in the mountains",
        "goat,sheep,llama,horse,deer,bear,fox,cow,tiger,gorilla,pine tree,castle,church,tent",
        "house,train,tractor,helicopter,airplane,parachute,kite,rocket,volcano,telescope",
        "backpack,boot,ladder,bell,dinosaur,camera,bird,motorcycle,koala,panda,piece of cheese",
    ),
    _place(
        "snow",
        "in a snowy field",
        "penguin,bear,fox,deer,rabbit,owl,sled,snowman,christmas tree,pine tree,house,tent",
        "church,gift,boot,bell,candle,llama,horse,helicopter,cup of coffee,carrot,top hat,truck",
        "raccoon,bucket,broom,dog,crown",
    ),
    _place(
        "kitchen",
        "in the kitchen",
        f"{_VEGETABLES},{_BAKERY},{_MEALS},{_FRUIT},broom,bucket,cat,mouse,potted plant,chair",
        "candle,telephone,door,ant,lobster",
        indoor=True,
    ),
    _place(
        "living room",
        "in the living room",
        f"{_PETS},{_INSTRUMENTS},{_PARTY},chair,television,telephone,laptop,book,potted plant",
        "christmas tree,bouquet,teddy bear,door,camera,umbrella,broom,box of popcorn,teapot",
        "pizza,spider,robot,ladder,ladybug",
        indoor=True,
    ),
    _place(
        "bedroom",
        "in the bedroom",
        f"{_CLOTHES},bed,alarm clock,book,teddy bear,candle,ring,laptop,cat,dog,chair,telephone",
        "robot,toothbrush,bathtub,door,key,television,bouquet,crown,unicorn,rose,potted plant",
        "guitar,cup of coffee,spider",
        indoor=True,
    ),
    _place(
        "classroom",
        "in the classroom",
        "book,pencil,scissors,laptop,microscope,telescope,magnet,chair,backpack,bell,alarm clock",
        "apple,trophy,soccer ball,basketball,frog,mouse,ladybug,potted plant,robot,hammer,ladder",
        "key,camera,sandwich,violin,lemon,drum,door,kite,television,trumpet,owl",
        indoor=True,
    ),
    _place(
        "stage",
        "on the stage",
        f"{_INSTRUMENTS},{_PARTY},chair,umbrella,camera,bouquet,robot,monkey,elephant,tiger",
        "unicorn,dress,ladder,television,teddy bear,rose,parrot,bell,gorilla,peacock,ring,hammer",
        "racing car",
        indoor=True,
        times=("day",),
    ),
    _place(
        "sky",
        "in the sky",
        "bird,butterfly,bee,owl,parrot,airplane,helicopter,rocket,parachute,balloon,kite",
        "flamingo,swan,duck,ladybug,umbrella,unicorn,dinosaur,bell,maple leaf",
        ground=None,
        air=(0.2, 0.8),
    ),
    _place(
        "sea",
        "under the sea",
        f"{_SEA_ANIMALS},ship,ring,key,crown,trophy,bell,boot,teapot,crocodile,castle,robot,hippo",
        times=("day", "night"),
        weathers=("clear",),
        ground=(0.84, 0.96),
        air=None,
        water=(0.32, 0.8),
    ),
    _place(
        "farm",
        "on the farm",
        f"{_FARM_ANIMALS},tractor,truck,house,bucket,ladder,ear of corn,carrot,potato,tomato",
        "sunflower,apple,pear,egg,bird,bee,ladybug,watermelon,eggplant,broccoli,onion,hammer",
        "tree,peach,fox,snail,sled",
    ),
    _place(
        "lake",
        "at the lake",
        f"{_BOATS},duck,swan,flamingo,fish,frog,crocodile,turtle,hippo,snake,deer,tree,pine tree",
        "tent,house,dog,bicycle,kite,bird,butterfly,umbrella,guitar,bear,castle,raccoon,elephant",
        "rhino",
        ground=(0.84, 0.97),
        air=(0.14, 0.32),
        water=(0.56, 0.74),
    ),
    _place(
        "table",
        "on the table",
        f"{_FRUIT},{_VEGETABLES},{_BAKERY},{_MEALS},{_SWEETS},{_FLOWERS},{_BALLS},pencil,scissors",
        "key,book,candle,gift,alarm clock,bouquet,camera,ring,magnet,microscope,teddy bear",
        "potted plant,maple leaf,hammer,toothbrush,trophy,laptop,bell,violin,telephone,t-shirt",
        "cactus",
        indoor=True,
        times=("day",),
        ground=(0.52, 0.94),
        air=(0.16, 0.3),
    ),
)

PLACES: dict[str, Place] = {place.name: place for place in _ALL_PLACES}
"""Every place by its name."""
