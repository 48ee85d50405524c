"""The words of `everyday`: nouns, verbs with their complements, adverbials and conjunctions."""

from __future__ import annotations

# English, plural | gender, German, plural (and, of weak nouns, the other cases' singular) |
# determiners (d the, i a, o the subject's own, p plural, m mass: no article) | adjectives
THINGS = """
book books | n Buch Bücher | diop | old interesting thick new
newspaper newspapers | f Zeitung Zeitungen | diop | old new
letter letters | m Brief Briefe | diop | long short old
story stories | f Geschichte Geschichten | dip | long short sad funny
poem poems | n Gedicht Gedichte | dip | short long funny sad
postcard postcards | f Postkarte Postkarten | dip | nice funny old
message messages | f Nachricht Nachrichten | dip | short long important
question questions | f Frage Fragen | dip | difficult simple important
answer answers | f Antwort Antworten | di | short long
present presents | n Geschenk Geschenke | dip | small big nice
jacket jackets | f Jacke Jacken | dio | red blue warm new old
coat coats | m Mantel Mäntel | dio | black warm new old long
shirt shirts | n Hemd Hemden | diop | white blue clean new
shoe shoes | m Schuh Schuhe | P | old new black warm
bicycle bicycles | n Fahrrad Fahrräder | diop | red old new green
car cars | n Auto Autos | diop | small red old new big
house houses | n Haus Häuser | dio | small big old
piano pianos | n Klavier Klaviere | dio | old black
lamp lamps | f Lampe Lampen | dip | small green old new
clock clocks | f Uhr Uhren | di | old small big
radio radios | n Radio Radios | dio | old small
television televisions | m Fernseher Fernseher | d | new old
computer computers | m Computer Computer | do | new old
heating - | f Heizung - | d |
light - | n Licht - | d |
roof roofs | n Dach Dächer | d | old
window windows | n Fenster Fenster | dp | big small
door doors | f Tür Türen | d | heavy green old
fence fences | m Zaun Zäune | do | old long
wall walls | f Wand Wände | dp | white
kitchen kitchens | f Küche Küchen | d | small big
bathroom bathrooms | n Bad Bäder | d | small big
room rooms | n Zimmer Zimmer | do | small big
cellar cellars | m Keller Keller | d | dark
garage garages | f Garage Garagen | d |
desk desks | m Schreibtisch Schreibtische | do | big old
garden gardens | m Garten Gärten | do | small big
flat flats | f Wohnung Wohnungen | do | new small big
box boxes | f Kiste Kisten | dip | heavy small big empty
parcel parcels | n Paket Pakete | dip | heavy small big
bottle bottles | f Flasche Flaschen | dip | empty green
suitcase suitcases | m Koffer Koffer | dio | heavy old big
key keys | m Schlüssel Schlüssel | do | small old
umbrella umbrellas | m Regenschirm Regenschirme | dio | red black old
bag bags | f Tasche Taschen | dio | heavy red new
phone phones | n Handy Handys | do | new old
picture pictures | n Bild Bilder | dip | old nice big
photo photos | n Foto Fotos | dip | old nice funny
dog dogs | m Hund Hunde | dio | big black old
cat cats | f Katze Katzen | dio | black small old
horse horses | n Pferd Pferde | di | white old
duck ducks | f Ente Enten | P |
cake cakes | m Kuchen Kuchen | di | big fresh
bread - | n Brot - | dm | fresh
soup soups | f Suppe Suppen | di | hot
salad salads | m Salat Salate | di | fresh big
dinner - | n Abendessen - | d |
potato potatoes | f Kartoffel Kartoffeln | P | hot
apple apples | m Apfel Äpfel | dip | red green big
coffee - | m Kaffee - | m | hot
tea - | m Tee - | m | hot
milk - | f Milch - | m | cold warm
flower flowers | f Blume Blumen | P | red white nice
tomato tomatoes | f Tomate Tomaten | P |
ticket tickets | f Fahrkarte Fahrkarten | dop |
bill bills | f Rechnung Rechnungen | dp | long
money - | n Geld - | d |
way - | m Weg - | d | short
appointment appointments | m Termin Termine | do | important
bus buses | m Bus Busse | di | green
train trains | m Zug Züge | di | last
party parties | n Fest Feste | d | big
trip trips | f Reise Reisen | do | long short
weekend weekends | n Wochenende Wochenenden | d | next
holiday holidays | f Ferien Ferien | Q |
race races | n Rennen Rennen | di | long
course courses | m Kurs Kurse | di | new
meeting meetings | f Sitzung Sitzungen | di | long important
museum museums | n Museum Museen | di | small new old
"""

# English | gender, German (and its other cases, of weak nouns)
PEOPLE = """
the woman | f die Frau
the man | m der Mann
the girl | n das Mädchen
the boy | m der Junge Jungen
the child | n das Kind
the doctor | f die Ärztin
the teacher | m der Lehrer
the baker | m der Bäcker
the postman | m der Briefträger
the farmer | m der Bauer Bauern
the waiter | m der Kellner
the guests | p die Gäste
the children | p die Kinder
the pupils | p die Schüler
my brother | m mein Bruder
my sister | f meine Schwester
my grandmother | f meine Großmutter
my uncle | m mein Onkel
my parents | p meine Eltern
my friends | p meine Freunde
our neighbour | m unser Nachbar Nachbarn
our aunt | f unsere Tante
Anna | f Anna
Mia | f Mia
Clara | f Clara
Paul | m Paul
Jonas | m Jonas
Emil | m Emil
"""
# Relatives that a person may have: "her brother".
RELATIVES = (
    "brother m Bruder|sister f Schwester|grandmother f Großmutter|uncle m Onkel|aunt f Tante"
)

# English: base, he, -ing, past, participle (and a particle) | German: infinitive, er, ich, participle,
# h or s (haben, sein), du! (or -), prefix | English complements | German complements | what {x} may
# be | marks: i indoors, o outdoors, d takes a while, c a chore, s a state, e past only, f past and
# future only, r not a habit, n not with "not"
# In complements: {a} accusative, {d} dative; what follows ">" comes after "nicht".
VERBS = """
read reads reading read read | lesen liest lese gelesen h lies | {a} | {a} | book newspaper letter story poem message | id
write writes writing wrote written | schreiben schreibt schreibe geschrieben h schreib | {a} | {a} | letter story poem postcard message | id
buy buys buying bought bought | kaufen kauft kaufe gekauft h kauf | {a} | {a} | book newspaper present jacket coat bicycle car house lamp bread apple ticket flower cake umbrella picture tomato | r
sell sells selling sold sold | verkaufen verkauft verkaufe verkauft h verkauf | {a} | {a} | car house bicycle piano picture clock horse | r
repair repairs repairing repaired repaired | reparieren repariert repariere repariert h reparier | {a} | {a} | bicycle car lamp clock radio roof heating computer fence | dcr
clean cleans cleaning cleaned cleaned | putzen putzt putze geputzt h putz | {a} | {a} | window shoe kitchen bathroom bicycle car | dc
wash washes washing washed washed | waschen wäscht wasche gewaschen h wasch | {a} | {a} | shirt car dog apple | dc
open opens opening opened opened | machen macht mache aufgemacht h mach auf | {a} | {a} | window door box parcel bottle suitcase umbrella |
close closes closing closed closed | machen macht mache zugemacht h mach zu | {a} | {a} | window door box suitcase bottle umbrella |
turn turns turning turned turned on | machen macht mache angemacht h mach an | {a} | {a} | light lamp heating radio television computer |
turn turns turning turned turned off | machen macht mache ausgemacht h mach aus | {a} | {a} | light lamp heating radio television computer |
tidy tidies tidying tidied tidied up | räumen räumt räume aufgeräumt h räum auf | {a} | {a} | room kitchen cellar garage desk flat | idc
pick picks picking picked picked up | holen holt hole abgeholt h hol ab | {a} | {a} | PEOPLE parcel ticket car |
invite invites inviting invited invited | laden lädt lade eingeladen h lad ein | {a} | {a} | PEOPLE | r
call calls calling called called | rufen ruft rufe angerufen h ruf an | {a} | {a} | PEOPLE |
visit visits visiting visited visited | besuchen besucht besuche besucht h besuch | {a} | {a} | PEOPLE museum |
help helps helping helped helped | helfen hilft helfe geholfen h hilf | {d} in the garden | {d} > im Garten | PEOPLE | od
help helps helping helped helped | helfen hilft helfe geholfen h hilf | {d} in the kitchen | {d} > in der Küche | PEOPLE | idc
thank thanks thanking thanked thanked | danken dankt danke gedankt h dank | {d} | {d} | PEOPLE |
listen listens listening listened listened to | hören hört höre zugehört h hör zu | {d} | {d} | PEOPLE | d
give gives giving gave given | geben gibt gebe gegeben h gib | {d} {a} | {d} {a} | book key letter apple present flower ticket money | r
give gives giving gave given back | geben gibt gebe zurückgegeben h gib zurück | {a} | {a} | book bicycle umbrella key money bag suitcase | r
show shows showing showed shown | zeigen zeigt zeige gezeigt h zeig | {d} {a} | {d} {a} | photo picture garden flat way house letter dog | r
lend lends lending lent lent | leihen leiht leihe geliehen h leih | {d} {a} | {d} {a} | book bicycle car umbrella suitcase coat computer | r
send sends sending sent sent | schicken schickt schicke geschickt h schick | {d} {a} | {d} {a} | parcel letter postcard photo message bill | r
bring brings bringing brought brought along | bringen bringt bringe mitgebracht h bring mit | {a} | {a} | cake salad flower bottle photo present dog umbrella | r
throw throws throwing threw thrown away | werfen wirft werfe weggeworfen h wirf weg | {a} | {a} | newspaper box shoe letter radio bottle ticket flower poem story postcard | r
put puts putting put put on | ziehen zieht ziehe angezogen h zieh an | {a} | {a} | jacket coat shirt shoe |
look looks looking looked looked for | suchen sucht suche gesucht h such | {a} | {a} | key umbrella bag phone dog cat ticket book photo | d
find finds finding found found | finden findet finde gefunden h - | {a} | {a} | key umbrella bag phone dog cat ticket letter money | f
lose loses losing lost lost | verlieren verliert verliere verloren h - | {a} | {a} | key umbrella bag phone ticket money race | e
forget forgets forgetting forgot forgotten | vergessen vergisst vergesse vergessen h - | {a} | {a} | key umbrella bag phone appointment cake jacket | e
wait waits waiting waited waited for | warten wartet warte gewartet h wart | {a} | > auf {a} | bus train answer letter parcel dinner PEOPLE | d
think thinks thinking thought thought of | denken denkt denke gedacht h denk | {a} | > an {a} | PEOPLE appointment trip weekend holiday | d
look looks looking looked looked forward to | freuen freut freue gefreut h - | {a} | {r} > auf {a} | party weekend holiday trip dinner race | sn
remember remembers remembering remembered remembered | erinnern erinnert erinnere erinnert h - | {a} | {r} > an {a} | PEOPLE poem trip party story | s
take takes taking took taken part in | nehmen nimmt nehme teilgenommen h - teil | {a} | > an {d} | race course meeting trip |
say says saying said said goodbye to | verabschieden verabschiedet verabschiede verabschiedet h - | {d} | {r} > von {d} | PEOPLE |
go goes going went gone | gehen geht gehe gegangen s geh | PLACE | > PLACE | park+the=in_den_Park cinema+the=ins_Kino station+the=zum_Bahnhof school=zur_Schule market+the=auf_den_Markt library+the=in_die_Bibliothek work=zur_Arbeit bakery+the=zur_Bäckerei pool+the=ins_Schwimmbad |
travel travels travelling travelled travelled | fahren fährt fahre gefahren s fahr | PLACE | > PLACE | Berlin=nach_Berlin Hamburg=nach_Hamburg Italy=nach_Italien sea+the=ans_Meer mountains+the=in_die_Berge | r
stay stays staying stayed stayed | bleiben bleibt bleibe geblieben s bleib | at home | > zu Hause | | id
get gets getting got got up | stehen steht stehe aufgestanden s steh auf | early | > früh | |
fall falls falling fell fallen | schlafen schläft schlafe eingeschlafen s - ein | asleep on the sofa | > auf dem Sofa | | f
arrive arrives arriving arrived arrived | kommen kommt komme angekommen s - an | at the station | > am Bahnhof | | f
arrive arrives arriving arrived arrived | kommen kommt komme angekommen s - an | in Berlin | > in Berlin | | f
go goes going went gone | kaufen kauft kaufe eingekauft h kauf ein | shopping at the market | > auf dem Markt | | d
watch watches watching watched watched | sehen sieht sehe ferngesehen h - fern | television in the kitchen | > in der Küche | | id
cook cooks cooking cooked cooked | kochen kocht koche gekocht h koch | {a} | {a} | soup dinner potato coffee tea | idc
bake bakes baking baked baked | backen backt backe gebacken h back | {a} | {a} | cake bread | id
eat eats eating ate eaten | essen isst esse gegessen h iss | {a} | {a} | apple soup cake bread potato salad tomato | d
drink drinks drinking drank drunk | trinken trinkt trinke getrunken h trink | {a} | {a} | coffee tea milk | id
play plays playing played played | spielen spielt spiele gespielt h spiel | football in the park | > im Park Fußball | | odn
play plays playing played played | spielen spielt spiele gespielt h spiel | chess in the garden | > im Garten Schach | | odn
work works working worked worked | arbeiten arbeitet arbeite gearbeitet h arbeite | in the garden | > im Garten | | od
swim swims swimming swam swum | schwimmen schwimmt schwimme geschwommen s schwimm | in the lake | > im See | | od
dance dances dancing danced danced | tanzen tanzt tanze getanzt h tanz | in the kitchen | > in der Küche | | id
water waters watering watered watered | gießen gießt gieße gegossen h gieß | {a} | {a} | flower tomato | oc
paint paints painting painted painted | streichen streicht streiche gestrichen h streich | {a} | {a} | wall door fence kitchen window | dcr
learn learns learning learned learned | lernen lernt lerne gelernt h lern | {a} by heart | {a} > auswendig | poem story | idr
hang hangs hanging hung hung up | hängen hängt hänge aufgehängt h häng auf | {a} | {a} | picture coat shirt jacket lamp photo | cr
lock locks locking locked locked | schließen schließt schließe abgeschlossen h schließ ab | {a} | {a} | door car bicycle house cellar garage |
feed feeds feeding fed fed | füttern füttert füttere gefüttert h füttere | {a} | {a} | dog cat horse duck | c
understand understands understanding understood understood | verstehen versteht verstehe verstanden h - | {a} | {a} | question answer poem story message letter PEOPLE | s
answer answers answering answered answered | beantworten beantwortet beantworte beantwortet h beantworte | {a} | {a} | question letter message | d
meet meets meeting met met | treffen trifft treffe getroffen h triff | {a} at the station | {a} > am Bahnhof | PEOPLE |
translate translates translating translated translated | übersetzen übersetzt übersetze übersetzt h übersetze | {a} | {a} | letter story poem message | idr
pay pays paying paid paid | bezahlen bezahlt bezahle bezahlt h bezahl | {a} | {a} | bill | r
pack packs packing packed packed | packen packt packe gepackt h pack | {a} | {a} | suitcase bag box parcel | idcr
"""

ADJECTIVES = """
old alt|interesting interessant|thick dick|new neu|long lang|short kurz|sad traurig|funny lustig
nice schön|important wichtig|difficult schwierig|simple einfach|small klein|big groß|red rot
blue blau|warm warm|black schwarz|white weiß|clean sauber|green grün|heavy schwer|dark dunkl
empty leer|fresh frisch|hot heiß|cold kalt|last letzt|next nächst
"""

# When: English | German, by tense. Those of "habit" with "-" go before the verb in English.
WHEN = {
    "now": "now|jetzt,today|heute,at the moment|gerade",
    "habit": "every day|jeden Tag,every evening|jeden Abend,on Sundays|sonntags,-often|oft,"
    "-always|immer,-sometimes|manchmal",
    "past": "yesterday|gestern,last night|gestern Abend,last week|letzte Woche,"
    "this morning|heute Morgen,on Sunday|am Sonntag,on Friday|am Freitag",
    "future": "tomorrow|morgen,next week|nächste Woche,on Saturday|am Samstag,"
    "this evening|heute Abend,on Monday|am Montag",
}

# English: I, he, we | German: ich, er, wir
MODALS = """
can can can | kann kann können
must must must | muss muss müssen
want_to wants_to want_to | will will wollen
should should should | soll soll sollen
would_like_to would_like_to would_like_to | möchte möchte möchten
"""

# Reasons to do something, and not to: English I, he, we | German ich, er, wir
REASONS = """
have time|has time|have time|Zeit habe|Zeit hat|Zeit haben
want to help|wants to help|want to help|helfen will|helfen will|helfen wollen
am in a good mood|is in a good mood|are in a good mood|gute Laune habe|gute Laune hat|gute Laune haben
have a day off|has a day off|have a day off|frei habe|frei hat|frei haben
"""
PAST_REASONS = """
had time|had time|had time|Zeit hatte|Zeit hatte|Zeit hatten
had a day off|had a day off|had a day off|frei hatte|frei hatte|frei hatten
wanted to help|wanted to help|wanted to help|helfen wollte|helfen wollte|helfen wollten
had promised it|had promised it|had promised it|es versprochen hatte|es versprochen hatte|es versprochen hatten
"""
OBSTACLES = """
am tired|is tired|are tired|müde bin|müde ist|müde sind
am ill|is ill|are ill|krank bin|krank ist|krank sind
have no time|has no time|have no time|keine Zeit habe|keine Zeit hat|keine Zeit haben
have to work|has to work|have to work|arbeiten muss|arbeiten muss|arbeiten müssen
have a headache|has a headache|have a headache|Kopfschmerzen habe|Kopfschmerzen hat|Kopfschmerzen haben
"""
BEFORE = """
go to bed|goes to bed|go to bed|ins Bett gehe|ins Bett geht|ins Bett gehen
leave the house|leaves the house|leave the house|das Haus verlasse|das Haus verlässt|das Haus verlassen
go to work|goes to work|go to work|zur Arbeit gehe|zur Arbeit geht|zur Arbeit gehen
"""
WEATHER = {
    "o": "if the weather is nice|wenn das Wetter schön ist,if the sun is shining|wenn die Sonne scheint,"
    "if it is warm|wenn es warm ist",
    "i": "if it is raining|wenn es regnet,if it is cold|wenn es kalt ist,if it is snowing|wenn es schneit",
}

# English | German, with what the clause after it may be about
THAT = """
I think that | Ich glaube, dass
I know that | Ich weiß, dass
I have heard that | Ich habe gehört, dass
we have heard that | Wir haben gehört, dass
Clara says that | Clara sagt, dass
Emil thinks that | Emil glaubt, dass
I do not know whether | Ich weiß nicht, ob
my mother is asking whether | Meine Mutter fragt, ob
"""
# To try, to forget …: English I, he, we | German ich, er, wir | what comes before the comma
TO = """
am trying|is trying|are trying|versuche|versucht|versuchen|
have forgotten|has forgotten|have forgotten|habe|hat|haben|vergessen
promised|promised|promised|habe|hat|haben|versprochen
decided|decided|decided|habe|hat|haben|beschlossen
plan|plans|plan|habe|hat|haben|vor
"""
# Two actions on the same thing: first verb, tense, joined by, second verb, tense
CHAINS = """
lose past and look+for now
lose past but find past
repair past and sell future
find past and give+back future
read past and give+back future
buy past but forget past
pack past but forget past
write past but throw+away past
open past and close now
look+for past but find not
"""
