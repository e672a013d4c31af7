"""Words of which the demo model knows nothing: for questions that it cannot answer."""

COUNTRIES = """Netherlands|Luxembourg|Croatia|Serbia|Slovenia|Slovakia|Romania|Bulgaria|Albania
Estonia|Latvia|Lithuania|Belarus|Moldova|Georgia|Armenia|Iran|Iraq|Syria|Israel|Jordan|Lebanon
Saudi Arabia|Yemen|Oman|Qatar|Kuwait|Afghanistan|Pakistan|Nepal|Bhutan|Bangladesh|Sri Lanka
Myanmar|Laos|Cambodia|Malaysia|Singapore|Indonesia|Philippines|Mongolia|North Korea|Taiwan
Kazakhstan|Uzbekistan|Algeria|Tunisia|Libya|Sudan|Ethiopia|Somalia|Uganda|Tanzania|Rwanda|Congo
Angola|Zambia|Zimbabwe|Namibia|Botswana|South Africa|Mozambique|Madagascar|Nigeria|Ghana|Senegal
Mali|Niger|Chad|Cameroon|Gabon|Liberia|Colombia|Venezuela|Ecuador|Bolivia|Paraguay|Uruguay|Guyana
Panama|Costa Rica|Nicaragua|Honduras|Guatemala|Jamaica|Haiti|Bahamas|Fiji|Samoa|Tonga|Malta
Cyprus|Monaco|Andorra|Scotland|Wales|Texas|California|Florida|Bavaria|Sicily|Alaska|Atlantis
Narnia|Mars|Africa|Europe|Asia"""

CITIES = """Amsterdam|Prague|Zagreb|Belgrade|Bucharest|Sofia|Riga|Vilnius|Tallinn|Minsk|Tehran
Baghdad|Damascus|Jerusalem|Kabul|Kathmandu|Jakarta|Manila|Singapore|Lagos|Accra|Dakar|Nairn
Bogota|Caracas|Quito|Kingston|Munich|Hamburg|Milan|Venice|Naples|Barcelona|Seville|Lyon|Marseille
Geneva|Zurich|Sydney|Melbourne|Toronto|Vancouver|New York|Chicago|Boston|Los Angeles|Mumbai
Shanghai|Osaka|Kyoto|Istanbul|Edinburgh|Glasgow|Manchester|Liverpool"""

ANIMALS = """zebra|giraffe|crocodile|camel|turtle|tortoise|whale|shark|dolphin|octopus|squid|crab
lobster|snail|worm|ant|wasp|butterfly|moth|fly|mosquito|beetle|ladybird|parrot|pigeon|sparrow
robin|raven|turkey|peacock|ostrich|pelican|stork|heron|seagull|hawk|falcon|vulture|deer|moose
reindeer|antelope|buffalo|bison|donkey|mule|llama|alpaca|hedgehog|squirrel|beaver|badger|otter
weasel|mole|rat|hamster|bat|seal|walrus|panda|koala|gorilla|chimpanzee|leopard|cheetah|panther
hyena|jackal|rhino|hippo|lizard|toad|salmon|trout|eel|jellyfish|starfish|dragon|dinosaur"""

THINGS = """table|chair|car|house|bus|train|plane|ship|boat|bridge|road|computer|phone|camera
radio|engine|battery|rocket|robot|clock|watch|lamp|mirror|window|door|roof|wall|garden|river|lake
mountain|island|desert|volcano|cloud|storm|planet|star|comet|galaxy|atom|molecule|cell|virus|bone
brain|heart|lung|muscle|tooth|piano|guitar|violin|drum|flute|song|opera|film|novel|poem|painting
statue|museum|library|school|university|hospital|church|castle|tower|palace|market|shop|bank
factory|farm|field|bottle|cup|plate|knife|fork|spoon|pan|oven|fridge|bag|box|shirt|coat|hat|shoe
sock|scarf|ring|coin|ticket|letter|stamp|map|flag|ball|toy|doll|game|puzzle|pencil|pen|paper|book
desk|bed|pillow|blanket|carpet|curtain|sofa|shelf|ladder|hammer|nail|saw|screw|rope|chain|wheel
bicycle|tractor|truck|helicopter|submarine|telescope|microscope|compass|magnet|cable|lens|laser
satellite|printer|keyboard|screen|server|browser|compiler"""

TOPICS = """gravity|electricity|magnetism|evolution|democracy|inflation|justice|philosophy|music
art|history|chemistry|biology|physics|mathematics|algebra|geometry|statistics|logic|grammar
politics|religion|economics|law|medicine|surgery|love|luck|happiness|freedom|time|space|energy
light|sound|heat|radiation|photosynthesis|digestion|memory|sleep|dreams|fear|pain|money|trade|tax
insurance|marketing|advertising|fashion|cooking|baking|farming|fishing|sailing|football|tennis
chess|golf|cricket|hockey|rugby|boxing|swimming|cycling|yoga|meditation|dancing|photography
architecture|programming|encryption|blockchain|the internet|machine learning|quantum physics
relativity|nuclear power|solar power|climate change|recycling|pollution|oil|gas|steel|plastic
glass|paper|silk|cotton|rubber|concrete|gold|silver|iron"""

PEOPLE = """Einstein|Newton|Darwin|Shakespeare|Mozart|Beethoven|Bach|Picasso|Rembrandt|Napoleon
Caesar|Cleopatra|Columbus|Galileo|Plato|Aristotle|Socrates|Buddha|Gandhi|Mandela|Lincoln
Churchill|Marie Curie|Tesla|Edison|Goethe|Kafka|Tolstoy|Homer|Dante|Cervantes|Columbus|Magellan
Marco Polo|Joan of Arc|Queen Victoria|King Arthur|Robin Hood|Sherlock Holmes|Hamlet|Dracula
Santa Claus|Elvis|Madonna|Pele|Mickey Mouse|Batman|the president|the pope|the king"""

WORDS = """beautiful|clever|funny|angry|tired|hungry|lazy|proud|round|square|wooden|modern|famous
busy|curious|polite|green|seven|orange|table|window|river|walk|sing|swim|think|build|remember
cousin|teacher|doctor|yellow|apple|winter|bread|music|garden|elegant|gentle|noisy|silver|foreign
public|simple|serious|special|strange|useful|wild|purple|paint|jump|read|write|drive|travel|hope
dream|wonder|smooth|calm|bright|sharp|tasty|bitter|royal|local|digital|golden"""

DISHES = """pizza|bread|soup|pancakes|lasagne|sushi|curry|pasta|cake|cookies|pie|risotto|paella
goulash|stew|jam|cheese|a salad|an omelette|an apple pie|ice cream|tea|lemonade|a sandwich
noodles|dumplings|a burger|tacos|a cheesecake"""

ILLNESSES = """a headache|a cold|the flu|a fever|a cough|a broken leg|back pain|toothache
an allergy|diabetes|asthma|high blood pressure|a rash|a sore throat|stomach pain|insomnia|stress
a burn|a migraine|an infection"""

TASKS = """sort a list|open a file|read a website|add two matrices|send an e-mail|draw a circle
find a prime number|reverse a string|connect to a database|parse a date|make a game
download a page|count the words|plot a graph"""

LANGUAGES = (
    """Python|Java|C|Rust|JavaScript|Go|Perl|Ruby|HTML|SQL|Bash|Haskell|Lisp|Fortran|Kotlin|Swift"""
)

TONGUES = """French|German|Spanish|Italian|Latin|Greek|Russian|Chinese|Japanese|Arabic|Turkish
Polish|Dutch|Swedish"""

COMPANIES = """Apple|Google|Microsoft|Amazon|Tesla|Toyota|Nokia|Siemens|Sony|Samsung|Intel|Nestle
Ford|Boeing|Airbus"""

SPORTS = """football|tennis|basketball|hockey|baseball|rugby|golf|swimming|chess|cycling|boxing
cricket|volleyball"""

EVENTS = """the French Revolution|the Second World War|the First World War|the moon landing
the Renaissance|the Ice Age|the Stone Age|the Roman Empire|the Cold War|the Olympic Games
the World Cup|the Black Death|the last election|the Middle Ages|the great fire of London
the fall of the Berlin Wall|the Titanic"""
