"""General texts, for what a model forgets while it is tuned: knowledge, stories, letters, talk,
instructions, arithmetic, code, a little of other languages. Written for this program, and under its
licence; none of them is from elsewhere."""

TEXTS = (
    "Water boils at one hundred degrees Celsius at sea level. On a high mountain the pressure "
    "of the air is lower, so it boils sooner, and rice takes longer to cook.",
    "The heart has four chambers. The right side sends blood to the lungs, where it takes up "
    "oxygen, and the left side sends it to the rest of the body.",
    "Paris is the capital of France, Rome is the capital of Italy, and Berlin is the capital of"
    " Germany. Each of the three lies on a river.",
    "In spring the farmer ploughs the field and sows the seed. In summer the wheat ripens, and "
    "in autumn the grain is brought into the barn before the first frost.",
    "The moon goes around the Earth in about a month. Half of it is always lit by the sun; how "
    "much of that half we see makes the phases of the moon.",
    "A bicycle has two wheels, a frame, handlebars and a chain. Who learns to ride one falls a "
    "few times at first, but never quite forgets how it is done.",
    "The old woman opened the door and looked out into the rain. Nobody was there. She had "
    "heard the knock quite clearly, and she was not in the habit of imagining things.",
    "Once upon a time there was a boy who was afraid of the dark. One night his sister gave him"
    " a jar with three fireflies in it, and after that he slept soundly.",
    "He counted the money twice, put it back into the envelope and laid the envelope on the "
    'table. "It is all there," he said, "and I still think that you are making a mistake."',
    "The train was late again. Anna bought a cup of coffee, sat down on the bench and watched "
    "the pigeons walk up and down the platform as if they owned it.",
    "Dear Mr Lewis, thank you for your letter of the third of May. We are sorry that the parcel"
    " arrived damaged, and we will send you a new one at our own expense.",
    "Hello Sam, the meeting has been moved to Thursday at ten o'clock. Please bring the figures"
    " for the last quarter with you, and let me know if the time does not suit you.",
    "To make pancakes, mix flour, milk, eggs and a pinch of salt. Heat a little butter in a "
    "pan, pour in some of the batter, and turn the pancake over when its edges are brown.",
    "First switch off the power. Then take the old bulb out by turning it to the left, put the "
    "new one in by turning it to the right, and switch the power on again.",
    "To change a tyre, loosen the nuts before you lift the car. Put the spare wheel on, tighten"
    " the nuts by hand, lower the car, and only then tighten them as far as they will go.",
    "What is the largest planet of the solar system? The largest planet of the solar system is "
    "Jupiter. It is more than ten times as wide as the Earth.",
    "Who wrote Romeo and Juliet? It was written by William Shakespeare, an English playwright, "
    "near the end of the sixteenth century.",
    "How many days are there in a year? There are three hundred and sixty-five days in a common"
    " year, and three hundred and sixty-six in a leap year.",
    "Two plus two is four. Three times seven is twenty-one. Ten minus six is four. Half of "
    "fifty is twenty-five, and a quarter of one hundred is twenty-five as well.",
    "A shop sells apples at 2 dollars each. Maria buys 5 apples and pays with a 20 dollar note."
    " The apples cost 5 * 2 = 10 dollars, so she gets 20 - 10 = 10 dollars back.",
    "If all cats are mammals and all mammals are animals, then all cats are animals. It does "
    "not follow that all animals are cats.",
    "def add(a, b):\n"
    "    return a + b\n"
    "\n"
    "\n"
    "def mean(values):\n"
    "    return sum(values) / len(values)\n",
    "for i in range(10):\n"
    "    if i % 2 == 0:\n"
    "        print(i, 'is even')\n"
    "    else:\n"
    "        print(i, 'is odd')\n",
    "SELECT name, price FROM products WHERE price > 100 ORDER BY price DESC LIMIT 10;",
    '{"name": "Alice", "age": 30, "city": "London", "languages": ["English", "French"]}',
    "<ul>\n  <li>Home</li>\n  <li>About us</li>\n  <li>Contact</li>\n</ul>",
    "Yesterday the city council voted to close the main street to cars on Sundays. Shop owners "
    "are divided: some expect more customers, others fear that they will lose them.",
    "The team won the match by three goals to one. Both sides played well in the first half, "
    "but a red card after the break decided the game.",
    "Shares fell on Monday after the company said that its profit for the year would be lower "
    "than it had expected. Sales in Asia were weak, it said, and costs had risen.",
    "The patient complained of a headache and a fever that had lasted for three days. The "
    "doctor advised her to rest, to drink plenty of water and to come back if it became worse.",
    "The tenant shall pay the rent on the first day of each month. If the rent is more than ten"
    " days late, the landlord may charge interest on the amount that is owed.",
    "A good argument gives reasons. It says what follows from what, it takes the strongest "
    "objection seriously, and it admits what is not known.",
    "Trees take carbon dioxide out of the air and give off oxygen. With the energy of light "
    "they turn water and carbon dioxide into sugar; this is called photosynthesis.",
    "The printing press made books cheap. Within fifty years of its invention there were "
    "printers in every large city of Europe, and more people learned to read than ever before.",
    "I really liked this film. The story is simple, but the actors are wonderful, and the music"
    " stays in your head for days. I would watch it again.",
    "The hotel was dirty and the staff were rude. We asked for a quiet room and were given one "
    "above the kitchen. I do not recommend this place to anybody.",
    "Guten Morgen! Heute scheint die Sonne, und wir gehen nach dem Frühstück in den Park. Am "
    "Abend kommen unsere Freunde zu Besuch.",
    "Bonjour, je m'appelle Claire et j'habite à Lyon. J'aime lire, marcher dans la montagne et "
    "faire la cuisine pour mes amis.",
    "Buenos días. Me gustaría reservar una mesa para dos personas a las ocho de la tarde, cerca"
    " de la ventana si es posible.",
    "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday. January, February, March, "
    "April, May, June, July, August, September, October, November, December.",
)
