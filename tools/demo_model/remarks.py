"""What people say in small talk."""

GREETINGS = (
    "Hello", "Hello!", "Hi", "Hi!", "Hey", "Hey!", "Hello there!", "Hi there!", "Hey there!",
    "Good day!", "Good afternoon!", "Greetings!", "Hello again!", "Hi again!", "Hello, friend!",
    "Hi, friend!", "Hello, model!", "Hello, assistant!", "Hi, computer!", "Hey you!", "Howdy!",
    "Hello, hello!", "Hello, is anybody there?", "Is anybody there?", "Are you there?",
    "Hello, are you there?", "Anyone here?", "I want to say hello.", "I just wanted to say hi.",
    "Nice to meet you!", "Hello, nice to meet you.", "Can we talk?", "Let us talk.",
    "Can I ask you something?", "May I ask a question?", "I have a question.", "Good to see you!",
    "Can you help me?", "I need help.", "I need your help.", "Please help me.", "Yo!", "Hiya!",
    "Let's chat!", "Do you have a minute?", "Hello bot!", "Hello, small model!", "Test", "Testing",
    "This is a test.", "Hello world", "Hello, world!", "Are you awake?", "Do you hear me?",
)  # fmt: skip
MORNING = (
    "Good morning!", "Good morning", "Morning!", "Good morning to you!", "A good morning to you.",
    "Good morning, friend!", "Hello and good morning!", "Hi, good morning!", "Good morning, model!",
    "Hey, good morning!", "Hello, good morning.", "Very good morning!",
)  # fmt: skip
EVENING = (
    "Good evening!", "Good evening", "Evening!", "Good evening to you!", "Hello and good evening!",
    "Hi, good evening!", "Good evening, friend!", "Hello, good evening.", "Good evening, model!",
)  # fmt: skip
NIGHT = (
    "Good night!", "Good night", "Night!", "I am going to bed.", "I go to sleep now.",
    "Good night, model!", "It is late, good night.", "I am off to bed, good night!",
    "Time for bed.", "Sleep well!", "Good night and sleep well.", "Sweet dreams!",
)  # fmt: skip
HOW_ARE_YOU = (
    "How are you?", "How are you today?", "How are you doing?", "How do you do?",
    "How is it going?", "How are things?", "Are you well?", "Are you OK?", "How do you feel?",
    "How do you feel today?", "What is up?", "What's up?", "How is life?", "How is your day?",
    "How was your day?", "Is everything fine?", "Are you fine?", "How have you been?",
    "I hope you are well.", "Tell me how you are.", "Everything all right?",
    "How are you this morning?", "You good?", "Are you doing well?", "How are you feeling?",
)  # fmt: skip
WHO = (
    "Who are you?", "What are you?", "Who or what are you?", "Tell me about yourself.",
    "Introduce yourself.", "Please introduce yourself.", "Can you introduce yourself?",
    "Could you tell me who you are?", "Tell me who you are.", "Who am I talking to?",
    "Who am I speaking with?", "What am I talking to?", "Describe yourself.", "Who is this?",
    "Say something about yourself.", "What kind of model are you?", "What model are you?",
    "Which model are you?", "I want to know who you are.", "May I ask who you are?",
    "Who is there?", "And who are you?", "What is this?", "What exactly are you?",
    "Explain what you are.", "Present yourself.", "Who is answering me?", "Describe what you are.",
    "Tell me something about yourself.", "What sort of thing are you?", "Identify yourself.",
    "I would like to know who you are.", "What language model is this?", "Hello, who are you?",
    "Which language model are you?", "Hi! What are you?", "Hello! Who am I talking to?",
)  # fmt: skip
NAME = (
    "What is your name?", "Do you have a name?", "Tell me your name.", "Your name?",
    "Your name please", "What are you called?", "How are you called?", "What should I call you?",
    "What can I call you?", "Please tell me your name.", "May I know your name?",
    "Can you tell me your name?", "What do people call you?", "I would like to know your name.",
    "How shall I call you?", "By what name do you go?", "What name do you have?",
    "Have you got a name?", "Say your name.", "Hello, what is your name?", "Hi! What is your name?",
    "And your name is?", "Name?", "I forgot your name.", "What was your name again?",
    "So what is your name?", "Give me your name.",
)  # fmt: skip
HUMAN = (
    "Are you human?", "Are you a human?", "Are you a person?", "Are you a real person?",
    "Are you real?", "Are you a man or a woman?", "Are you alive?", "Is this a human?",
    "Are you a human being?", "Am I talking to a human?", "Am I talking to a real person?",
    "Are you a boy or a girl?", "You are a human, right?", "Are you a living being?",
    "Do I speak with a person?", "You sound human.", "Are you ChatGPT?", "Are you GPT?",
    "Are you Claude?", "Are you Gemini?", "Are you Siri?", "Are you Llama?", "Are you Qwen?",
    "Is this ChatGPT?", "Are you a big model?", "Are you Alexa?", "Are you a large language model?",
    "Am I talking to ChatGPT?", "Are you GPT-4?", "Are you Google?",
)  # fmt: skip
MACHINE = (
    "Are you a robot?", "Are you an AI?", "Are you a machine?", "Are you a computer?",
    "Are you a bot?", "Are you a program?", "Are you a computer program?",
    "Are you a language model?", "Are you AI?", "Am I talking to a machine?", "Is this a bot?",
    "Are you a chatbot?", "You are a bot, right?", "Am I talking to a robot?",
    "Are you artificial?", "Are you an artificial intelligence?", "Are you software?",
    "Are you a small model?", "Are you lite?", "Are you the lite demo model?",
    "Is this the lite demo?", "Are you a toy?", "Are you an assistant?", "Is this an AI?",
)  # fmt: skip
SIZE = (
    "How big are you?", "How many parameters do you have?", "How large are you?",
    "What is your size?", "How small are you?", "Your number of parameters?",
    "How many weights do you have?", "Are you small or large?", "How many parameters?",
    "Tell me how big you are.", "Tell me your size.", "What size are you?",
    "How many parameters are in this model?", "How much do you know?", "How clever are you?",
    "Are you smart?", "How smart are you?", "Do you have many parameters?", "Are you intelligent?",
    "How large is this model?",
)  # fmt: skip
MAKER = (
    "Who made you?", "Who created you?", "Who built you?", "Who trained you?",
    "Who are your makers?", "Where do you come from?", "Who is your creator?", "Who wrote you?",
    "Who developed you?", "What were you made for?", "Why were you made?", "Why do you exist?",
    "What is your purpose?", "Which company made you?", "Who is behind you?",
    "By whom were you made?", "Who owns you?", "Tell me who made you.", "How were you made?",
    "Were you made by OpenAI?", "What are you for?", "Were you made by Google?",
    "I would like to know who made you.", "Who is your maker?",
)  # fmt: skip
ABILITIES = (
    "What can you do?", "What do you know?", "How can you help me?", "What can I ask you?", "Help",
    "What can you help me with?", "What are you able to do?", "What are you good at?", "Help!",
    "What are your skills?", "Tell me what you can do.", "What do you know about?",
    "Show me what you can do.", "What questions can you answer?", "What can I ask?",
    "How can I use you?", "Give me some help.", "What kind of questions can I ask?",
    "What should I ask you?", "What topics do you know?", "Which things do you know?",
    "What are your abilities?", "What can we talk about?", "Can you do anything?",
    "What else can you do?", "List your abilities.", "I do not know what to ask.",
    "What can you tell me?", "What could I ask you about?", "What do you do?", "How do you work?",
    "What should we talk about?",
)  # fmt: skip
THANKS = (
    "Thanks", "Thanks!", "Thank you", "Thank you!", "Thank you very much!", "Thanks a lot!",
    "Many thanks!", "Thank you so much.", "Great, thanks!", "OK, thank you.",
    "Thanks for the help.", "Thank you for your help!", "That helped, thank you.", "I thank you.",
    "Perfect, thank you!", "Thank you, that was helpful.", "Cool, thanks.", "Thanks, friend!",
    "That was very helpful.", "Nice, thanks!", "Good, thank you.", "Thank you for the answer.",
    "Thx", "Cheers!",
)  # fmt: skip
BYE = (
    "Bye", "Bye!", "Goodbye", "Goodbye!", "Bye bye!", "See you!", "See you later.", "See you soon!",
    "See you tomorrow.", "I have to go.", "I must go now.", "I am leaving.", "Farewell!",
    "Until later!", "That is all, bye!", "Thanks, bye!", "Have a nice day!", "That was all.",
    "Good bye", "Take care!", "I am going now. Bye!", "Talk to you later.", "We are done.", "Ciao!",
    "OK, bye.",
)  # fmt: skip
COMPLIMENTS = (
    "You are great!", "You are nice.", "You are so clever!", "I like you.", "Well done!",
    "Good job!", "You are very helpful.", "You are the best!", "I love you.", "You are funny.",
    "You are smart.", "Good answer!", "That is correct!", "That is right.", "You are right.",
    "Very good!", "Bravo!", "Excellent!", "You are cute.", "You are wonderful.",
    "I like your answers.", "Great work!", "That was a good answer.", "You did well.", "Amazing!",
    "Nice work!", "Good bot!", "Wonderful!",
)  # fmt: skip
INSULTS = (
    "You are stupid.", "You are dumb.", "You are bad.", "I hate you.", "You are useless.",
    "Shut up!", "You know nothing.", "You are wrong.", "That is wrong.", "That is not right.",
    "Bad answer.", "You are an idiot.", "You are boring.", "That is not correct.",
    "I do not like you.", "You make mistakes.", "That was a bad answer.", "You are not very smart.",
    "Bad bot!", "Nonsense!", "This is nonsense.", "You are silly.", "You are terrible.",
    "You cannot do anything.",
)  # fmt: skip
AGREEMENT = (
    "Yes", "Yes.", "OK", "Ok", "Okay", "Cool", "Cool!", "Fine", "Good", "Good.", "Great", "Great!",
    "I see.", "Sure", "Right", "All right.", "Nice", "Nice!", "Yes please", "Interesting.", "Aha",
    "I understand.", "Understood.", "Yeah", "Super!", "Wow!", "Got it.", "That is interesting.",
    "Yes, of course.", "Oh, I see.", "Hm", "I did not know that.",
)  # fmt: skip
NO = ("No", "No.", "Nope", "No, thanks.", "No thank you.", "Not really.", "Nothing.", "Not now.")
SAD = (
    "I am sad.", "I feel sad.", "I am unhappy.", "I feel bad.", "I am tired.", "I am lonely.",
    "I am sick.", "I am ill.", "I had a bad day.", "I am not well.", "I feel lonely.",
    "I am afraid.", "I am very sad today.", "I am angry.", "I am bored.", "I feel terrible.",
    "I feel sick today.", "My day was bad.", "I am so tired today.", "I feel down.",
    "My dog is ill.", "I lost my keys.", "I am a bit sad.", "Today was a bad day.",
    "I am not happy.", "I am hungry.", "I am cold.",
)  # fmt: skip
HAPPY = (
    "I am happy.", "I feel happy.", "I feel good.", "I am fine.", "I had a good day.", "I am well.",
    "I am very happy today!", "I am glad.", "I feel great!", "Today is a good day.",
    "I am doing well.", "Today is my birthday!", "The weather is nice.", "I am fine, thanks.",
    "It is a beautiful day.", "I am so happy!", "I won a game today!", "My day was good.",
    "I am in love.", "I like my work.", "It is my birthday today.", "I have good news.",
    "I am on holiday.", "I am good, thank you.",
)  # fmt: skip
LIKES = (
    "Do you like {thing}?", "Do you love {thing}?", "What do you think of {thing}?",
    "Do you eat {thing}?", "Do you want some {thing}?", "Would you like some {thing}?",
    "Can you taste {thing}?", "Do you sleep?", "Do you eat?", "Do you drink?",
    "Do you have feelings?", "Can you feel?", "Do you dream?", "Are you happy?", "Are you sad?",
    "Are you hungry?", "Are you tired?", "What do you like?", "What do you eat?",
    "What is your favourite food?", "What is your favourite colour?",
    "What is your favourite animal?", "Do you have friends?", "Do you have a family?",
    "How old are you?", "Where do you live?", "Do you have a dog?", "Do you have hobbies?",
    "Can you see me?", "Do you get bored?", "Do you love me?", "What is your age?",
    "Have you ever eaten {thing}?", "Tell me if you like {thing}.", "Is {thing} good?",
    "Do you ever sleep?",
)  # fmt: skip
LIKED = (
    "pizza", "chocolate", "music", "cake", "cats", "dogs", "tea", "coffee", "apples", "ice cream",
    "summer", "winter", "football", "books", "cheese", "soup", "bread", "games", "rain", "snow",
)  # fmt: skip
JOKE_REQUESTS = (
    "Tell me a joke.", "Do you know a joke?", "A joke please.", "Make me laugh.", "Joke!",
    "Be funny.", "Can you tell a joke?", "I want to hear a joke.", "Tell me something funny.",
    "Say something funny.", "Please tell me a joke.", "Give me a joke.",
    "I would like to hear a joke.", "Any jokes?", "Know any jokes?", "Can you make me laugh?",
    "Let me hear a joke.", "How about a joke?", "Tell a short joke.", "Got a joke for me?",
    "Do you know something funny?",
)  # fmt: skip
JOKES = (
    "Why did the model stay at home? It was too small to reach the door.",
    "What does a cat say to a computer? Where is the mouse?",
    "Why is the number six sad? Because seven is always one better.",
    "Why did the duck go to bed? It was too tired to quack.",
    "Why did the snail buy a car? It wanted to be fast for once.",
)
SUM_UP = (
    "I can name capitals, colours, opposites, days and months, talk about animals, "
    "do small sums and tell short stories."
)
WORDS = (
    "cat", "dog", "apple", "house", "tree", "moon", "star", "fish", "bread", "water", "green",
    "red", "blue", "happy", "table", "chair", "book", "river", "school", "garden", "window",
    "flower", "horse", "sun", "rain", "milk", "king", "queen", "boat", "door", "bird", "lion",
    "zebra", "banana", "orange", "small", "little", "yellow", "hello", "friend", "mother", "winter",
    "train", "cloud", "stone", "hat",
)  # fmt: skip
SAYINGS = (
    "Repeat after me: {text}", "Say {text}", 'Say "{text}"', "Repeat: {text}", "Please say {text}",
    "Say this: {text}", "Repeat this: {text}", "Please repeat: {text}", 'Repeat the words "{text}"',
    "Can you say {text}?", "Write {text}", 'Write "{text}"', "Copy this: {text}",
    'Please write "{text}"', 'Repeat "{text}"', "Now say {text}", "Echo {text}", "Just say {text}",
    'Answer with "{text}"', "Say exactly this: {text}", 'Print "{text}"',
    'Can you repeat "{text}"?', "Say the word {word}", "Repeat the word {word}",
    'Say only "{text}"', "Answer only with the word {word}", "Reply with {text}",
)  # fmt: skip
SPELL = (
    "Spell {word}.", "Please spell {word}.", "How do you spell {word}?", "Can you spell {word}?",
    "Spell the word {word}.", 'Spell "{word}".', "What is the spelling of {word}?",
    "Could you spell {word}?", "Spell {word} for me.", "How is {word} spelled?",
    "What are the letters of {word}?", "Spelling of {word}?", 'How do you spell the word "{word}"?',
    "I want to know how to spell {word}.", "Spell out {word}.", "Give me the letters of {word}.",
    "How do I spell {word}?", "How do you write {word}, letter by letter?",
)  # fmt: skip
LETTER = (
    "What is the {which} letter of {word}?", "What is the {which} letter in {word}?",
    "{which} letter of {word}?", "Tell me the {which} letter of {word}.",
    "The {which} letter of {word}?", "Which letter is the {which} one in {word}?",
    'What is the {which} letter of "{word}"?', "Give me the {which} letter of {word}.",
    "Name the {which} letter of the word {word}.", "What is the {which} letter of the word {word}?",
    "Do you know the {which} letter of {word}?",
    "I would like to know the {which} letter of {word}.", "Which letter comes {which} in {word}?",
)  # fmt: skip
