"""Function words and negations of English: what attacks leave alone, since changing one changes the
sense.
"""

WORDS = {
    "pronouns": (
        "i me my myself we us our ours ourselves you your yours yourself yourselves he him "
        "his himself she her hers herself it its itself they them their theirs themselves who "
        "whom whose which what this that these those one"
    ),
    "determiners": ("a an the all any both each few more most other some such own same"),
    "prepositions": (
        "about above after against at before below between by down during for from in into of "
        "off on out over through to under until up with without"
    ),
    "conjunctions": ("and as because but if nor or so than then while when where why how"),
    "adverbs": ("again further here just now once only there too very"),
    "verbs": (
        "am are be been being is was were do does did doing have has had having can could may "
        "might must shall should will would"
    ),
    "negations": (
        "no not n't t s never none cannot aren't can't couldn't didn't doesn't don't hadn't "
        "hasn't haven't isn't mustn't shouldn't wasn't weren't won't wouldn't"
    ),
}
STOPWORDS = frozenset(word for words in WORDS.values() for word in words.split())
